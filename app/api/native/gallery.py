"""The gallery: outputs, newest first; with `status` also generations without output."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from app.api.http.cursor import decode, encode
from app.api.http.openapi import blueprint, responses
from app.api.http.request_model import RequestModel
from app.api.native.gallery_fields import DELETION, Moment, Plain, TagText, seconds_of
from app.api.routing import Access
from app.api.schemas.images import GalleryBody, TagsBody, VideosBody
from app.api.security.client_identity import identity
from app.api.server.context import app_context
from app.core.catalog import Media
from app.core.generation_settings import SEED_MAX
from app.core.job import JobStatus
from app.core.json_values import IN_ANY_CASE
from app.errors import GenerationTimeout, InvalidRequest
from app.services.media import gallery
from app.store.media.filters import Sort

api = blueprint("gallery", "images")

MOST_LISTED = 500  # tags

Status = Annotated[
    Literal["PENDING", "PROCESSING", "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"],
    IN_ANY_CASE,
]


class _Filter(RequestModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=200, description="The `next_cursor` of the page before.")
    sort: Sort = Field(default="newest", description="By the time; of the bin by that of the deletion.")
    count: bool = Field(default=False, description="1 = say in `total` how many pictures match.")
    model: Plain | None = Field(default=None, max_length=100, description="Only of this model.")
    search: Plain | None = Field(
        default=None, max_length=500, description="Words that are all in the prompt, in any order and case."
    )
    since: Moment | None = Field(default=None, description="Only from this time on; without a zone it is UTC.")
    until: Moment | None = Field(default=None, description="Only before this time.")
    status: Status = Field(
        default="COMPLETED",
        description="COMPLETED lists pictures; any other the generations in it, TIMEOUT those that FAILED by their time"
        " limit. In any case.",
    )
    seed: int | None = Field(default=None, ge=0, le=SEED_MAX, description="Only of this seed.")
    favorite: bool | None = Field(default=None, description="1 = only favourites, 0 = no favourites.")
    tag: TagText | None = Field(default=None, description="Only with this tag, in any case.")
    bin: bool = Field(default=False, description="1 = what was deleted and can be restored, in place of all others.")
    deletion: str | None = Field(
        default=None, pattern=DELETION, description="With `bin`: what one action deleted, by its `deletion_id`."
    )


class GalleryFilter(_Filter):
    media: Media | None = None


class VideoFilter(_Filter):
    media: Literal["video"] | None = Field(default=None, description="Nothing else is listed here.")


@api.get("/api/images", access=Access.USER, budget="read", responses=responses({200: GalleryBody}, InvalidRequest))
def images(query: GalleryFilter) -> GalleryBody:
    """List images and videos, newest first"""
    listing = _browse(query, query.media)
    return GalleryBody.of(listing, encode(listing.next), _total(query, query.media), app_context().settings.bin_days)


@api.get("/api/videos", access=Access.USER, budget="read", responses=responses({200: VideosBody}, InvalidRequest))
def videos(query: VideoFilter) -> VideosBody:
    """List videos, newest first"""
    listing = _browse(query, "video")
    return VideosBody.of(listing, encode(listing.next), _total(query, "video"), app_context().settings.bin_days)


@api.get("/api/tags", access=Access.USER, budget="read", responses=responses({200: TagsBody}))
def tags() -> TagsBody:
    """List the tags, the most used first"""
    return TagsBody.of(app_context().tags.listing(identity().scope, limit=MOST_LISTED))


def _browse(query: _Filter, media: Media | None) -> gallery.Listing:
    timed_out = query.status == "TIMEOUT"
    status, code = (JobStatus.FAILED, GenerationTimeout.code) if timed_out else (JobStatus(query.status), None)
    wanted, after = _wanted(query, media, code), decode(query.cursor)
    return gallery.browse(app_context(), wanted, status=status, limit=query.limit, after=after, sort=query.sort)


def _total(query: _Filter, media: Media | None) -> int | None:
    return gallery.count(app_context(), _wanted(query, media)) if query.count else None


def _wanted(query: _Filter, media: Media | None, error_code: str | None = None) -> gallery.Filter:
    return gallery.Filter(
        model_id=query.model,
        media=media,
        search=query.search,
        owner=identity().scope,
        since=seconds_of(query.since),
        until=seconds_of(query.until),
        error_code=error_code,
        seed=query.seed,
        favorite=query.favorite,
        tag=query.tag,
        binned=query.bin,
        deletion_id=query.deletion,
    )
