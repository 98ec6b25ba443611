"""OpenAPI metadata of routes: groups, responses, path parameters."""

from __future__ import annotations

import re
from typing import Annotated, Any

from flask_openapi3 import Tag
from pydantic import AfterValidator, BaseModel, Field

from app.api.http.problems import MEDIA_TYPE
from app.api.http.request_model import RequestModel
from app.api.routing import Routes
from app.errors import BatchNotFound, CyberImageError, DeliveryNotFound, ImageNotFound, JobNotFound

_ID = re.compile(r"[0-9a-f]{32}")
_PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_GROUPS = {
    "generate": "Enqueue generations.",
    "v1": "The versioned API: one call that answers with the image itself; loading and unloading models.",
    "OpenAI images": "The interface of OpenAI's image API, for its clients.",
    "AUTOMATIC1111": "The interface of AUTOMATIC1111's web UI, for its clients.",
    "MCP": "The Model Context Protocol, for assistants.",
    "jobs": "Status, events, cancel and retry.",
    "batches": "Many generations as one: templates, axes, seeds.",
    "images": "Generated images and videos.",
    "models": "The model catalogue and LoRAs.",
    "remote models": "Models that a provider runs, with their own input schemas.",
    "webhooks": "Messages sent to the `webhook_url` of jobs that ended.",
    "session": "Browser sessions.",
    "keys": "API keys, where AUTH_MODE is keys.",
    "server": "Health, metrics, the queue and maintenance.",
}
_ID_SCHEMA = {"pattern": "^[0-9a-f]{32}$"}


def blueprint(name: str, group: str, facade: str = "native") -> Routes:
    """The routes of one file. `group` is the heading under which the documentation shows them."""
    tag = Tag(name=group, description=_GROUPS[group])
    return Routes(
        name, __name__, facade=facade, abp_tags=[tag], operation_id_callback=lambda *, name, path, method: name
    )


def responses(good: dict[int, Any], *problems: type[CyberImageError]) -> dict[Any, Any]:
    """The responses of a route: `good` ones by status (a model, None for an empty body, or an OpenAPI response), and
    the `problems` it may raise, grouped by status. Whatever else goes wrong is a problem document too.
    """
    documented: dict[Any, Any] = dict(good)
    codes: dict[int, list[str]] = {}
    for kind in problems:
        codes.setdefault(kind.status, []).append(f"`{kind.code}`")
    for status, names in codes.items():
        documented[status] = {"description": ", ".join(names), "content": _PROBLEM}
    documented["default"] = {"description": "Any other error", "content": _PROBLEM}
    return documented


def file(description: str, *media_types: str) -> dict[str, Any]:
    """An answer that is bytes, not JSON."""
    schema = {"schema": {"type": "string", "format": "binary"}}
    return {"description": description, "content": dict.fromkeys(media_types, schema)}


def text(description: str) -> dict[str, Any]:
    """An answer that is plain text."""
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


def _job_id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise JobNotFound("There is no job with this id.")
    return text


def _image_id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ImageNotFound("There is no image with this id.")
    return text


def _generation_id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise JobNotFound("There is no generation with this id.")
    return text


def _delivery_id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise DeliveryNotFound("There is no webhook delivery with this id.")
    return text


def _batch_id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise BatchNotFound("There is no batch with this id.")
    return text


class JobPath(BaseModel):
    job_id: Annotated[str, AfterValidator(_job_id)] = Field(
        description="The `job_id` that `POST /api/generate` answered.", json_schema_extra={**_ID_SCHEMA}
    )


class ImagePath(BaseModel):
    image_id: Annotated[str, AfterValidator(_image_id)] = Field(
        description="An `image_id` of a job or of the gallery.", json_schema_extra={**_ID_SCHEMA}
    )


class GenerationPath(BaseModel):
    generation_id: Annotated[str, AfterValidator(_generation_id)] = Field(
        description="A `job_id`, or an `image_id` of the gallery.", json_schema_extra={**_ID_SCHEMA}
    )


class BatchPath(BaseModel):
    batch_id: Annotated[str, AfterValidator(_batch_id)] = Field(
        description="The `batch_id` that `POST /api/batches` answered.", json_schema_extra={**_ID_SCHEMA}
    )


class SignedQuery(RequestModel):
    signed: bool = Field(
        default=False,
        description="1 = with `signed` URLs of its pictures and videos, which need no token for a while.",
    )


class DeliveryPath(BaseModel):
    delivery_id: Annotated[str, AfterValidator(_delivery_id)] = Field(
        description="A `delivery_id` of the list, or the `webhook-id` of a message.", json_schema_extra={**_ID_SCHEMA}
    )
