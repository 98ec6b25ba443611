"""One image or video: file, thumbnail, metadata, favourite, deletion, rerun."""

from __future__ import annotations

from flask import Response, g, make_response, send_file
from pydantic import Field

from app.api.http import openapi
from app.api.http.conditional import check_preconditions, conditional
from app.api.http.headers import request_id
from app.api.http.media_redirect import redirect_to_store
from app.api.http.openapi import ImagePath, blueprint, responses
from app.api.http.request_model import RequestModel
from app.api.routing import Access
from app.api.schemas.images import FavoriteBody, ImageMetadata
from app.api.schemas.jobs import Accepted, AcceptedResponse, SignedUrls
from app.api.security.client_identity import client_id
from app.api.server.context import app_context
from app.core.json_values import Body, Integer
from app.core.output import Output
from app.errors import (
    Conflict,
    DiskFull,
    Forbidden,
    Gone,
    ImageNotFound,
    InvalidRequest,
    InvalidSignature,
    MediaUnreadable,
    NoCapableWorker,
    PreconditionFailed,
    QueueFull,
    UnknownModel,
    UnsupportedTask,
    UrlExpired,
)
from app.services.jobs.rerun import rerun
from app.services.media import gallery
from app.services.media.archive import file_name

api = blueprint("images", "images")

# A file never changes under its id. `private`, because one that was deleted must not live on in a shared cache.
_FOR_EVER = "private, max-age=31536000, immutable"
_UNCHANGED = {"description": "The client has it already."}
_PART = openapi.file("A part of it, as asked for by `Range`.", "image/png", "video/mp4")
_ELSEWHERE = {"description": "With MEDIA_REDIRECT: the file is at `Location` for a short while."}
_NO_PART = {"description": "There are no such bytes; `Content-Range` has their number."}


class Signed(RequestModel):
    """Parameters of a signed URL, which needs no token. They are checked before the view."""

    expires: str | None = Field(default=None, description="Of a signed URL: seconds since the epoch.")
    signature: str | None = Field(default=None, description="Of a signed URL. With one nothing else is looked at.")


class Download(Signed):
    download: bool = Field(default=False, description="1 = offer to save the file instead of showing it.")


class Thumbnail(Signed):
    bin: bool = Field(default=False, description="1 = also of an image in the bin.")


class SignBody(Body):
    seconds: Integer | None = Field(
        default=None, ge=1, description="How long they last; SIGNED_URL_SECONDS if absent, which is also the most."
    )


@api.get(
    "/api/image/<image_id>",
    access=Access.USER,
    budget="read",
    signed_file="file",
    responses=responses(
        {
            200: openapi.file("The file.", "image/png", "video/mp4"),
            206: _PART,
            304: _UNCHANGED,
            307: _ELSEWHERE,
            416: _NO_PART,
        },
        ImageNotFound,
        Gone,
        PreconditionFailed,
        InvalidSignature,
        UrlExpired,
        MediaUnreadable,
    ),
    description="Honours conditional headers (the ETag is the file's SHA-256) and `Range`: one part, or several that"
    " touch; for parts that lie apart the whole is sent.",
)
def image(path: ImagePath, query: Download) -> Response:
    """Get the file of an image or video"""
    output = app_context().outputs.get(path.image_id)
    return _send(output, etag=output.sha256, mime_type=output.mime_type, download=query.download)


@api.get(
    "/api/image/<image_id>/thumbnail",
    access=Access.USER,
    budget="read",
    polled=True,
    signed_file="thumbnail",
    responses=responses(
        {
            200: openapi.file("A WebP.", "image/webp"),
            206: _PART,
            304: _UNCHANGED,
            307: _ELSEWHERE,
            416: _NO_PART,
        },
        ImageNotFound,
        Gone,
        PreconditionFailed,
        InvalidSignature,
        UrlExpired,
        MediaUnreadable,
    ),
)
def image_thumbnail(path: ImagePath, query: Thumbnail) -> Response:
    """Get a thumbnail"""
    output = app_context().outputs.get(path.image_id, binned=query.bin and query.signature is None)
    return _send(output, etag=f"{output.sha256}-thumbnail", mime_type="image/webp", thumbnail=True)


@api.get(
    "/api/image/<image_id>/metadata",
    access=Access.USER,
    budget="read",
    responses=responses({200: ImageMetadata, 304: _UNCHANGED}, ImageNotFound, Gone, PreconditionFailed),
)
def image_metadata_(path: ImagePath) -> Response:
    """Get the metadata of an image"""
    output = app_context().outputs.get(path.image_id)
    tags = app_context().tags.of([output.id]).get(output.id, [])
    response = make_response(ImageMetadata.of(output, tags=tags))
    response.add_etag()
    response.headers["Cache-Control"] = "private, no-cache"  # kept, but asked for each time
    return conditional(response, ranges=False)


@api.post(
    "/api/image/<image_id>/signed-url",
    access=Access.USER,
    budget="read",
    responses=responses({200: SignedUrls}, ImageNotFound, Gone, InvalidRequest, Forbidden),
    description="They open this file and its thumbnail, nothing else, to any client that has them, without a token.",
)
def sign_image(path: ImagePath, body: SignBody) -> SignedUrls:
    """Get signed URLs of an image or video"""
    output = app_context().outputs.get(path.image_id)
    return app_context().signed_urls.signing(body.seconds)(output.id)


@api.delete(
    "/api/image/<image_id>",
    access=Access.USER,
    budget="read",
    responses=responses({204: None}, ImageNotFound, Gone, PreconditionFailed),
    description="For good: `POST /api/images/actions` puts images into the bin. With `If-Match` only the file that has"
    " this ETag.",
)
def delete_image(path: ImagePath) -> tuple[str, int]:
    """Delete an image"""
    check_preconditions(app_context().outputs.get(path.image_id, binned=True).sha256)
    gallery.remove(app_context(), path.image_id)
    return "", 204


@api.put(
    "/api/image/<image_id>/favorite",
    access=Access.USER,
    budget="read",
    responses=responses({200: FavoriteBody}, ImageNotFound, Gone),
    description="Retention leaves favourites alone.",
)
def mark_favorite(path: ImagePath) -> FavoriteBody:
    """Mark an image as favourite"""
    return _mark(path.image_id, favorite=True)


@api.delete(
    "/api/image/<image_id>/favorite",
    access=Access.USER,
    budget="read",
    responses=responses({200: FavoriteBody}, ImageNotFound, Gone),
)
def unmark_favorite(path: ImagePath) -> FavoriteBody:
    """Unmark a favourite"""
    return _mark(path.image_id, favorite=False)


@api.post(
    "/api/image/<image_id>/rerun",
    access=Access.USER,
    budget="generate",
    responses=responses(
        {202: Accepted},
        ImageNotFound,
        Gone,
        Conflict,
        UnknownModel,
        InvalidRequest,
        NoCapableWorker,
        UnsupportedTask,
        QueueFull,
        DiskFull,
    ),
    description="As a new job with the settings, the seed and the pictures it was made of. On the same machine with the"
    " same versions the pixels are equal; the job's `warnings` list what has changed since.",
)
def rerun_image(path: ImagePath) -> AcceptedResponse:
    """Generate an image again"""
    submitted = rerun(app_context(), path.image_id, client_id=client_id(), request_id=request_id())
    return Accepted.of(submitted).response()


def _mark(image_id: str, *, favorite: bool) -> FavoriteBody:
    app_context().outputs.mark(image_id, favorite=favorite)
    return FavoriteBody(image_id=image_id, favorite=favorite)


def _send(output: Output, *, etag: str, mime_type: str, thumbnail: bool = False, download: bool = False) -> Response:
    stored, name = output.thumbnail_path if thumbnail else output.path, file_name(output)
    if (redirect := redirect_to_store(stored, mime_type, name if download else None)) is not None:
        return redirect
    file = gallery.open_file(app_context(), output, thumbnail=thumbnail)
    response = send_file(
        file.content,
        mime_type,
        as_attachment=download,
        download_name=name,
        conditional=False,
        etag=etag,
        last_modified=file.modified,
    )
    response.content_length = file.size
    signed_seconds = g.get("signed_seconds")
    response.headers["Cache-Control"] = (
        _FOR_EVER if signed_seconds is None else f"private, max-age={signed_seconds}, immutable"
    )
    return conditional(response, ranges=True)
