"""The tiles in which a large picture is drawn over: of one size, overlapping, none beyond its edges. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

Box = tuple[int, int, int, int]  # left, top, right, bottom


def overlap_of(tile: int) -> int:
    """By how many pixels two neighbours overlap at least."""
    return tile // 4


def tiles_over(size: tuple[int, int], tile: int) -> Sequence[Box]:
    """The tiles over a picture of `size`, row by row. Their sides are `tile`, or the picture's where that is less."""
    width, height = size
    return [
        (left, top, left + min(tile, width), top + min(tile, height))
        for top in _starts(height, tile)
        for left in _starts(width, tile)
    ]


def _starts(length: int, tile: int) -> Sequence[int]:
    if length <= tile:
        return [0]
    count = ceil((length - overlap_of(tile)) / (tile - overlap_of(tile)))
    return [round((length - tile) * number / (count - 1)) for number in range(count)]
