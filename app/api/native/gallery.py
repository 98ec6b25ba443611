"""The gallery: outputs, newest first; with `status` also generations without output."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from app.api.http.cursor import decode, encode
from app.api.http.openapi import blueprint, responses
from app.api.http.request_model import RequestModel
from app.api.routing import Access
from app.api.schemas.images import GalleryBody, VideosBody
from app.api.security.client_identity import identity
from app.api.server.context import app_context
from app.core.catalog import Media
from app.core.job import JobStatus
from app.core.json_values import IN_ANY_CASE
from app.errors import GenerationTimeout, InvalidRequest
from app.services.media import gallery

api = blueprint("gallery", "images")

Plain = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$")]

_DATE = r"^\d{4}-\d{2}-\d{2}"


def _written(text: object) -> object:
    """pydantic would also take a bare number for the seconds since 1970."""
    if isinstance(text, str) and re.match(_DATE, text) is None:
        raise ValueError("must be a date or a time such as 2026-01-31 or 2026-01-31T12:00:00Z")
    return text


Moment = Annotated[datetime, BeforeValidator(_written), WithJsonSchema({"type": "string", "pattern": _DATE})]


Status = Annotated[
    Literal["PENDING", "PROCESSING", "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"],
    IN_ANY_CASE,
]


class _Filter(RequestModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=200, description="The `next_cursor` of the page before.")
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


class GalleryFilter(_Filter):
    media: Media | None = None


class VideoFilter(_Filter):
    media: Literal["video"] | None = Field(default=None, description="Nothing else is listed here.")


@api.get("/api/images", access=Access.USER, budget="read", responses=responses({200: GalleryBody}, InvalidRequest))
def images(query: GalleryFilter) -> GalleryBody:
    """List images and videos, newest first"""
    listing = _browse(query, query.media)
    return GalleryBody.of(listing, encode(listing.next))


@api.get("/api/videos", access=Access.USER, budget="read", responses=responses({200: VideosBody}, InvalidRequest))
def videos(query: VideoFilter) -> VideosBody:
    """List videos, newest first"""
    listing = _browse(query, "video")
    return VideosBody.of(listing, encode(listing.next))


def _browse(query: _Filter, media: Media | None) -> gallery.Listing:
    since, until = _seconds(query.since), _seconds(query.until)
    timed_out = query.status == "TIMEOUT"
    status, code = (JobStatus.FAILED, GenerationTimeout.code) if timed_out else (JobStatus(query.status), None)
    wanted = gallery.Filter(query.model, media, query.search, identity().scope, since, until, code)
    return gallery.browse(app_context(), wanted, status=status, limit=query.limit, after=decode(query.cursor))


def _seconds(time: datetime | None) -> float | None:
    return None if time is None else (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
