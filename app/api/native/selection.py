"""Many pictures at once: actions on them, and their download as one archive."""

from __future__ import annotations

from typing import Annotated, Self

from flask import Response
from pydantic import Field, model_validator

from app.api.http import openapi
from app.api.http.openapi import blueprint, responses
from app.api.native.gallery_fields import DELETION, Moment, Plain, TagText, seconds_of
from app.api.routing import Access
from app.api.schemas.images import ActionResult
from app.api.security.client_identity import identity
from app.api.server.context import app_context
from app.core.catalog import Media
from app.core.generation_settings import SEED_MAX
from app.core.json_values import Body, Integer
from app.core.tags import tag_of
from app.errors import FieldError, ImageNotFound, InvalidRequest
from app.services.media import gallery, selection
from app.services.media.archive import archive

api = blueprint("selection", "images")

MOST_IDS = 5000
MOST_TAGS_AT_ONCE = 16
MOST_ZIPPED = 10_000

ImageId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


class SelectionFilter(Body):
    """Pictures, as `GET /api/images` filters them."""

    model: Plain | None = Field(default=None, max_length=100)
    media: Media | None = None
    search: Plain | None = Field(default=None, max_length=500)
    since: Moment | None = None
    until: Moment | None = None
    seed: Integer | None = Field(default=None, ge=0, le=SEED_MAX)
    favorite: bool | None = None
    tag: TagText | None = None
    deletion: str | None = Field(default=None, pattern=DELETION, description="What one action deleted, to restore it.")

    def of_core(self) -> gallery.Filter:
        return gallery.Filter(
            model_id=self.model,
            media=self.media,
            search=self.search,
            since=seconds_of(self.since),
            until=seconds_of(self.until),
            seed=self.seed,
            favorite=self.favorite,
            tag=self.tag,
            deletion_id=self.deletion,
        )


class SelectionBody(Body):
    ids: list[ImageId] | None = Field(default=None, min_length=1, max_length=MOST_IDS, description="These pictures.")
    filter: SelectionFilter | None = Field(default=None, description="In place of `ids`: all that match; {} = all.")

    except_ids: list[ImageId] | None = Field(
        default=None, max_length=MOST_IDS, description="With a filter: these are left alone."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("name the pictures either by `ids` or by a `filter`")
        if self.except_ids and self.filter is None:
            raise ValueError("except_ids belongs to a `filter`; leave them out of `ids`")
        return self

    @property
    def selection(self) -> selection.Selection:
        """Of what the client may see, and nothing else."""
        wanted = gallery.Filter() if self.filter is None else self.filter.of_core()
        return selection.Selection(identity().scope, self.ids, wanted, frozenset(self.except_ids or ()))


class ActionBody(SelectionBody):
    action: selection.Action = Field(
        description="`delete` puts pictures into the bin, `restore` takes them out again, `purge` removes those in the"
        " bin for good; `tag` and `untag` take `tags`."
    )
    tags: list[TagText] | None = Field(default=None, min_length=1, max_length=MOST_TAGS_AT_ONCE)


@api.post(
    "/api/images/actions",
    access=Access.USER,
    budget="read",
    responses=responses({200: ActionResult}, InvalidRequest),
    description="On pictures of the client, of all for administrators; others are left alone and counted as `missing`."
    " What lies in the bin for BIN_DAYS is removed. One answer for all of them, however many there are.",
)
def act_on_images(body: ActionBody) -> ActionResult:
    """Delete, restore, mark or tag many images"""
    if (body.action in ("tag", "untag")) != (body.tags is not None):
        message = "belongs to the actions tag and untag, which require it"
        raise InvalidRequest(f"tags {message}.", errors=[FieldError("tags", message)])
    tags = [tag_of(text) for text in dict.fromkeys(body.tags or ())]
    return ActionResult.read(selection.act(app_context(), body.action, body.selection, tags))


@api.post(
    "/api/images/zip",
    access=Access.USER,
    budget="read",
    responses=responses({200: openapi.file("A ZIP archive.", "application/zip")}, InvalidRequest, ImageNotFound),
    description=f"The files as they are, {MOST_ZIPPED} at most, sent while they are read.",
)
def zip_images(body: SelectionBody) -> Response:
    """Download many images as an archive"""
    ids = selection.chosen(app_context(), body.selection, most=MOST_ZIPPED)
    if not ids:
        raise ImageNotFound("None of these images is there.")
    if len(ids) > MOST_ZIPPED:
        message = f"are more than {MOST_ZIPPED:,}, the most of one archive; narrow the filter"
        raise InvalidRequest(f"The images {message}.", errors=[FieldError("filter", message)])
    headers = {"Content-Disposition": 'attachment; filename="cyberimage.zip"', "Cache-Control": "no-store"}
    return Response(archive(app_context(), ids), mimetype="application/zip", headers=headers)
