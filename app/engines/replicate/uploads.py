"""Uploads the files in an input to the provider: gallery images and large data URIs."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from app.core.base64_text import decode_data_uri, is_data_uri
from app.core.gallery_references import GALLERY, references, replace_strings
from app.core.model_schema import InputSchema
from app.core.provider_input import first_frame_of, name_in
from app.engines.base import Inputs
from app.errors import FieldError, InvalidRequest
from app.files.images import encode_png
from app.providers.files import OpenPicture, Upload
from app.providers.replicate import Replicate

INLINE_CHARS = 250_000  # many models refuse longer data URIs


def with_uploads(
    input: dict[str, Any], api: Replicate, open_picture: OpenPicture, admitted: Collection[str]
) -> dict[str, Any]:
    """`input` with URLs that the provider can read. Only the gallery images `admitted` with the job are opened. Raises
    InvalidRequest, ImageNotFound or Gone."""
    for field, image_id in references(input):
        if image_id not in admitted:
            problem = FieldError(field, "names an image that was not admitted with this job; submit it again")
            raise InvalidRequest(f"{problem.field} {problem.message}.", errors=[problem])

    def placed(name: str, value: str) -> str:
        upload = _upload(name, value, open_picture)
        return value if upload is None else api.upload(upload.name, upload.content, upload.media_type)

    return {name: replace_strings(value, partial(placed, name)) for name, value in input.items()}


def with_pictures(inputs: Inputs, schema: InputSchema, api: Replicate) -> dict[str, Any]:
    """The input images of a native request, uploaded, by the model's field names. Raises InvalidRequest when the model
    takes none."""
    found: dict[str, Any] = {}
    for slot, pixels in inputs.items():
        name = first_frame_of(schema) if slot == "image" else name_in(schema, (slot,))
        if name is None:
            raise InvalidRequest(f"The model takes no {slot}.", errors=[FieldError(slot, "the model takes none")])
        found[name] = schema.as_field_value(name, api.upload(f"{slot}.png", encode_png(pixels, {}), "image/png"))
    return found


def _upload(name: str, value: str, open_picture: OpenPicture) -> Upload | None:
    if value.startswith(GALLERY):
        return open_picture(value.removeprefix(GALLERY))
    if len(value) > INLINE_CHARS and is_data_uri(value):
        return _decoded(name, value)
    return None


def _decoded(name: str, uri: str) -> Upload:
    try:
        media_type, content = decode_data_uri(uri)
        return Upload(name, content, media_type or "application/octet-stream")
    except ValueError:
        problem = FieldError(f"input.{name}", "is a data URI whose base64 cannot be decoded")
        raise InvalidRequest(f"{problem.field} {problem.message}.", errors=[problem]) from None
