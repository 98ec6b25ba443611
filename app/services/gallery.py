"""The published pictures: page through them, open one, remove one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app.core.output import Output
from app.errors import ImageNotFound
from app.services.installation import Installation
from app.store.outputs import GalleryQuery


@dataclass(frozen=True)
class Page:
    """`next` is the `after` of the page that follows, None on the last one."""

    outputs: Sequence[Output]
    next: tuple[float, str] | None


def page(installation: Installation, query: GalleryQuery) -> Page:
    """The newest outputs first, `query.limit` at a time."""
    found = installation.outputs.page(replace(query, limit=query.limit + 1))  # one more tells whether more follow
    outputs = found[: query.limit]
    more = len(found) > query.limit
    return Page(outputs, (outputs[-1].created_at, outputs[-1].id) if more else None)


def open_file(installation: Installation, output: Output, *, thumbnail: bool = False) -> Path:
    """The file of `output`. Raises ImageNotFound when somebody removed it behind our back."""
    path = installation.images.path(output.thumbnail_path if thumbnail else output.path)
    if not path.is_file():
        raise ImageNotFound("The file of this image is missing from the images folder.")
    return path


def remove(installation: Installation, image_id: str) -> None:
    """Remove row and files. The row goes first: there is never a row without its file. Raises ImageNotFound, Gone."""
    output = installation.outputs.get(image_id)
    installation.outputs.remove(image_id)
    installation.images.remove(output.path)
    installation.images.remove(output.thumbnail_path)
