"""The contact sheet of a batch: its pictures by place on the axes, with labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Literal

from app.core.batches.batch import Batch, Place
from app.core.batches.grid import Layout, layout_of
from app.core.job import JobStatus
from app.core.output import Output
from app.errors import FieldError, InvalidRequest
from app.services.context import AppContext

if TYPE_CHECKING:  # Pillow uses much memory: import it only for sheets
    from PIL.Image import Image

    from app.files.contact_sheet import Cell, ContactSheet

MOST_ROW_PIXELS = 10_000_000  # a row of cells is in memory, in several copies
Format = Literal["png", "webp"]
_WORDS = {
    JobStatus.PENDING: "waiting",
    JobStatus.PROCESSING: "running",
    JobStatus.COMPLETED: "removed",
    JobStatus.CANCELLED: "cancelled",
    JobStatus.FAILED: "failed",
}


def grid(
    context: AppContext, batch_id: str, format: Format, *, columns: int | None = None, cell: int | None = None
) -> Iterator[bytes]:
    """The sheet, piece by piece. Raises BatchNotFound, Gone, and InvalidRequest for a size that cannot be made."""
    from app.files.contact_sheet import ContactSheet

    batch = context.batches.get(batch_id)
    layout = layout_of(batch.axes, batch.jobs, columns=columns, cell=cell)
    sheet = ContactSheet(layout, _shape(context, batch))
    if sheet.size[0] * sheet.row_height > MOST_ROW_PIXELS:
        message = f"would have rows of {sheet.size[0]:,} × {sheet.row_height:,} pixels; take a smaller cell"
        raise InvalidRequest(f"The sheet {message}.", errors=[FieldError("cell", message)])
    bands = _bands(context, batch, layout, sheet)
    return _png(bands, sheet) if format == "png" else _webp(context, bands, sheet)


def _png(bands: Iterator[Image], sheet: ContactSheet) -> Iterator[bytes]:
    from app.files.contact_sheet import png_of

    return png_of(bands, sheet.size)


def _webp(context: AppContext, bands: Iterator[Image], sheet: ContactSheet) -> Iterator[bytes]:
    from app.files.contact_sheet import LARGEST_WEBP_PIXELS, LARGEST_WEBP_SIDE, webp_of

    width, height = sheet.size
    if max(sheet.size) > LARGEST_WEBP_SIDE or width * height > LARGEST_WEBP_PIXELS:
        message = f"would be {width:,} × {height:,} pixels, more than a WebP can have; take a smaller cell, or PNG"
        raise InvalidRequest(f"The sheet {message}.", errors=[FieldError("cell", message)])
    with context.pixels.taking(min(width * height, context.settings.input_max_pixels)):
        return iter([webp_of(bands, sheet.size, 85)])


def _bands(context: AppContext, batch: Batch, layout: Layout, sheet: ContactSheet) -> Iterator[Image]:
    yield sheet.head()
    for label, places in layout.rows:
        found = {each.place: each for each in context.batches.at(batch.id, places)}
        yield sheet.row(label, [_cell(context, batch, place, found.get(place)) for place in places])
    yield sheet.foot()


def _cell(context: AppContext, batch: Batch, place: int, there: Place | None) -> Cell:
    from app.files.contact_sheet import Cell

    label = _label(batch, place)
    if there is None:
        return Cell(label, text="removed")
    if not there.images:
        return Cell(label, text=_WORDS[there.status])
    first: Output = there.images[0]
    whole = partial(_opened, context, first.path) if first.media == "image" else None
    return Cell(label, partial(_opened, context, first.thumbnail_path), whole)


def _opened(context: AppContext, name: str) -> BinaryIO:
    return context.images.open(name).content


def _label(batch: Batch, place: int) -> str:
    """Of a cell without a column: the value on the only axis."""
    if len(batch.axes) == 1 and place < len(batch.axes[0].values):
        return batch.axes[0].values[place]
    return str(place + 1)


def _shape(context: AppContext, batch: Batch) -> float:
    """Height ÷ width of the first picture; square before there is one."""
    pictures: Sequence[Output] = [
        image for place in context.batches.places(batch.id, limit=100) for image in place.images
    ]
    return pictures[0].height / pictures[0].width if pictures else 1.0
