"""All pictures and videos, in the gallery and in the bin, while others are made, deleted and restored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from app.core.output import Output
from app.services.context import AppContext
from app.store.media.filters import GalleryQuery, place_of

_PAGE = 500


def every_output(context: AppContext) -> Iterator[Output]:
    """Each output; one that is deleted or restored meanwhile perhaps twice. The bin is read before and after the
    gallery, so that each is found in one of them."""
    binned: set[str] = set()
    for output in _outputs(context, binned=True):
        binned.add(output.id)
        yield output
    yield from _outputs(context, binned=False)
    yield from (output for output in _outputs(context, binned=True) if output.id not in binned)


def _outputs(context: AppContext, *, binned: bool) -> Iterator[Output]:
    query = GalleryQuery(limit=_PAGE, binned=binned)
    while page := context.outputs.page(query):
        yield from page
        last = page[-1]
        query = replace(query, after=place_of(query, last.created_at, last.deleted_at, last.id))
