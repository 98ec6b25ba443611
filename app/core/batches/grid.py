"""The layout of a contact sheet: which places stand in which row and column, and what is written beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod, sqrt

from app.core.batches.axes import Axis
from app.errors import FieldError, InvalidRequest

SMALLEST_CELL, USUAL_CELL, LARGEST_CELL = 32, 256, 1024  # pixels
WIDEST = 20_000
_GAP = 4


@dataclass(frozen=True)
class Layout:
    """`columns` are the labels above the cells, empty where each cell has its own. `rows` are the places of each row
    with its label. Sizes are pixels."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[int]]]
    cell: int
    side: int  # width of the labels of rows

    @property
    def width(self) -> int:
        widest = max((len(places) for _, places in self.rows), default=1)
        return self.side + widest * (self.cell + _GAP) + _GAP

    @property
    def text(self) -> int:
        """Size of the letters."""
        return max(9, min(20, self.cell // 12))

    @property
    def line(self) -> int:
        """Height of a line of text."""
        return self.text * 3 // 2

    @property
    def head(self) -> int:
        """Height of the title and the labels of columns."""
        return self.line * (2 + 2 * bool(self.columns)) + _GAP


def layout_of(axes: Sequence[Axis], jobs: int, *, columns: int | None = None, cell: int | None = None) -> Layout:
    """Rows and columns for the places of a batch. `columns` is the number of the axis that runs to the right: the last
    one, if None. The others run down, together. One axis alone is broken into lines. Raises InvalidRequest."""
    places = prod(len(axis.values) for axis in axes)
    if columns is not None and columns >= len(axes):
        message = f"must be the number of an axis, 0 to {len(axes) - 1}" if axes else "is not usable: there is no axis"
        raise _invalid("columns", message)
    if len(axes) < 2 or places > jobs:
        return _wrapped(axes, jobs, cell)
    across = len(axes) - 1 if columns is None else columns
    strides = [prod(len(axis.values) for axis in axes[number + 1 :]) for number in range(len(axes))]
    rows: list[tuple[str, Sequence[int]]] = [
        (label, [start + place * strides[across] for place in range(len(axes[across].values))])
        for label, start in _down(axes, strides, across)
    ]
    rows += _added(places, jobs, len(axes[across].values))
    side = 40 + 8 * max(min(len(label), 24) for label, _ in rows)
    size = _cell(cell, len(axes[across].values), side)
    down = " × ".join(axis.field for number, axis in enumerate(axes) if number != across)
    return Layout(f"columns: {axes[across].field} · rows: {down}", axes[across].values, rows, size, side)


def _down(axes: Sequence[Axis], strides: Sequence[int], across: int) -> list[tuple[str, int]]:
    """For each row its label, and the place of its first cell."""
    rows = [("", 0)]
    for number, axis in enumerate(axes):
        if number != across:
            rows = [
                (f"{label}, {value}".lstrip(", "), start + place * strides[number])
                for label, start in rows
                for place, value in enumerate(axis.values)
            ]
    return rows


def _added(places: int, jobs: int, across: int) -> list[tuple[str, Sequence[int]]]:
    """Rows for the jobs that were added after the places on the axes."""
    return [("added", range(start, min(start + across, jobs))) for start in range(places, jobs, across)]


def _wrapped(axes: Sequence[Axis], jobs: int, cell: int | None) -> Layout:
    across = max(1, ceil(sqrt(jobs)))
    while _width(SMALLEST_CELL if cell is None else cell, across, 0) > WIDEST:
        across -= 1
    rows = [("", places) for _, places in _added(0, jobs, across)]
    title = " × ".join(axis.field for axis in axes)
    return Layout(title, (), rows, _cell(cell, across, 0), 0)


def _cell(asked: int | None, across: int, side: int) -> int:
    if asked is not None:
        if _width(asked, across, side) > WIDEST:
            raise _invalid("cell", f"makes the sheet wider than {WIDEST:,} pixels; take a smaller one")
        return asked
    size = min(USUAL_CELL, (WIDEST - side) // across - _GAP - 1)
    if size < SMALLEST_CELL:
        raise _invalid("columns", f"names an axis of {across:,} values, which are too many; take another axis")
    return size


def _width(cell: int, across: int, side: int) -> int:
    return side + across * (cell + _GAP) + _GAP


def _invalid(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {message}.", errors=[FieldError(field, message)])
