"""Which pictures: the filters of the gallery, as conditions and orders that use its indexes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Column, ColumnElement, Select, select, tuple_

from app.core.catalog import Media
from app.core.prompts import words_of
from app.store.db.schema import FAVORITE, IN_BIN, IN_GALLERY, output_tags, outputs

Sort = Literal["newest", "oldest"]


@dataclass(frozen=True, kw_only=True)
class PictureFilter:
    """None matches everything. `search`: words that must all occur in the prompt; `owner`: a client_id; `since`
    (inclusive) and `until` (exclusive): seconds since the epoch; `tag`: the key of a tag; `binned`: those in the bin,
    in place of all others; `deletion_id`: those that one request put there."""

    model_id: str | None = None
    media: Media | None = None
    search: str | None = None
    owner: str | None = None
    since: float | None = None
    until: float | None = None
    seed: int | None = None
    favorite: bool | None = None
    tag: str | None = None
    binned: bool = False
    deletion_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class GalleryQuery(PictureFilter):
    """A page of pictures. `after`: (time, id) of the last one on the previous page, the time as `place_of` has it."""

    limit: int = 50
    after: tuple[float, str] | None = None
    sort: Sort = "newest"


def matching(columns: list[Column[Any]], query: PictureFilter) -> Select[Any]:
    """SELECT of these columns of the pictures that match, in no order."""
    statement = select(*columns)
    if query.tag is not None:
        statement = statement.join(output_tags, output_tags.c.output_id == outputs.c.id)
    return statement.where(*_conditions(query))


def page_of(columns: list[Column[Any]], query: GalleryQuery) -> Select[Any]:
    """SELECT of one page in its order."""
    order, backwards = _order(query), query.sort == "newest"
    statement = matching(columns, query).limit(query.limit)
    if query.after is not None:
        place, after = tuple_(*order), tuple_(*query.after)
        statement = statement.where(place < after if backwards else place > after)
    return statement.order_by(*(column.desc() if backwards else column.asc() for column in order))


def place_of(query: PictureFilter, created_at: float, deleted_at: float | None, output_id: str) -> tuple[float, str]:
    """Where a page that ends with this picture ends."""
    return (deleted_at or 0.0) if query.binned else created_at, output_id


def _order(query: PictureFilter) -> tuple[Column[Any], Column[Any]]:
    if query.binned:
        return outputs.c.deleted_at, outputs.c.id
    if query.tag is not None:  # along the index of tags
        return output_tags.c.created_at, output_tags.c.output_id
    return outputs.c.created_at, outputs.c.id


def _conditions(query: PictureFilter) -> Iterator[ColumnElement[bool]]:
    yield IN_BIN if query.binned else IN_GALLERY
    equal = {
        outputs.c.model_id: query.model_id,
        outputs.c.owner: query.owner,
        outputs.c.media: query.media,
        outputs.c.seed: query.seed,
        outputs.c.deletion_id: query.deletion_id,
        output_tags.c.tag: query.tag,
    }
    yield from (column == value for column, value in equal.items() if value is not None)
    if query.favorite is not None:
        yield FAVORITE if query.favorite else outputs.c.favorite.is_(False)
    if query.since is not None:
        yield outputs.c.created_at >= query.since
    if query.until is not None:
        yield outputs.c.created_at < query.until
    for word in words_of(query.search or ""):
        yield outputs.c.search_text.contains(word, autoescape=True)
