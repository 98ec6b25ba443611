"""Models of a remote provider: list, input schema, run, status."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from app.api.http.headers import request_id
from app.api.http.openapi import GenerationPath, SignedQuery, blueprint, responses
from app.api.native.generate import GenerateHeaders
from app.api.routing import Access
from app.api.schemas.jobs import Accepted, AcceptedResponse
from app.api.schemas.remote import GenerationBody, RemoteModelsBody, RemoteSchemaBody
from app.api.security.client_identity import check_priority, client_id
from app.api.server.context import api_context, app_context
from app.core.catalog import Media
from app.core.json_values import Body, Integer
from app.core.request import remote_spec
from app.core.webhooks import URL_MAX_CHARS
from app.errors import (
    DiskFull,
    Forbidden,
    Gone,
    IdempotencyConflict,
    InvalidRequest,
    JobNotFound,
    ModelUnavailable,
    NoCapableWorker,
    NoSuchModel,
    PayloadTooLarge,
    ProviderError,
    QueueFull,
    SpendLimit,
    SuspiciousInput,
    UnknownModel,
    UnsupportedMediaType,
)
from app.services.jobs.status import view_by_any_id
from app.services.jobs.submit import submit_remote
from app.services.remote.models import SOURCE
from app.services.remote.spending import price_of

api = blueprint("remote_models", "remote models")


class RemoteModelPath(BaseModel):
    owner: str = Field(max_length=100, description="Whose model it is, at the provider.")
    name: str = Field(max_length=100)


class RunBody(Body):
    model: str = Field(max_length=200, description="`owner/name`, or `owner/name:version`.")
    input: dict[str, Any] = Field(
        description="In the model's own words, as its schema has them. Where it wants a file, an `image_id` of the"
        " gallery will do."
    )
    source_image_id: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{32}$",
        description="A picture of the gallery to start from: it goes into the model's `first_frame`, whatever that is"
        " called.",
    )
    priority: Integer = Field(default=0, ge=-10, le=10, description="Higher runs earlier; above 0 for administrators.")
    webhook_url: str | None = Field(default=None, max_length=URL_MAX_CHARS, description="As for `POST /api/generate`.")


_RUN = responses(
    {202: Accepted},
    InvalidRequest,
    NoCapableWorker,
    SuspiciousInput,
    UnknownModel,
    Forbidden,
    PayloadTooLarge,
    UnsupportedMediaType,
    IdempotencyConflict,
    QueueFull,
    SpendLimit,
    DiskFull,
    ModelUnavailable,
    ProviderError,
)
_RUN_ABOUT = "The input is checked against the model's own schema, with an error per field, and its defaults filled in."
_SCHEMA = responses({200: RemoteSchemaBody}, NoSuchModel, ModelUnavailable, ProviderError)
_BY_ID = "By the id of a job, or of one of its pictures: then `output` is that picture. Of local models too."
_GET = responses({200: GenerationBody}, JobNotFound, Gone, Forbidden)


@api.get(
    "/api/image-models",
    access=Access.USER,
    budget="read",
    responses=responses({200: RemoteModelsBody}),
    description="Empty without a provider.",
)
def image_models() -> RemoteModelsBody:
    """List the provider's image models"""
    return RemoteModelsBody.of(api_context().remote_models.listing("image"))


@api.get(
    "/api/video-models",
    access=Access.USER,
    budget="read",
    responses=responses({200: RemoteModelsBody}),
    description="Empty without a provider.",
)
def video_models() -> RemoteModelsBody:
    """List the provider's video models"""
    return RemoteModelsBody.of(api_context().remote_models.listing("video"))


@api.get("/api/image-models/<path:owner>/<path:name>/schema", access=Access.USER, budget="read", responses=_SCHEMA)
def image_model_schema(path: RemoteModelPath) -> RemoteSchemaBody:
    """Get the input schema of an image model"""
    return _schema("image", path)


@api.get("/api/video-models/<path:owner>/<path:name>/schema", access=Access.USER, budget="read", responses=_SCHEMA)
def video_model_schema(path: RemoteModelPath) -> RemoteSchemaBody:
    """Get the input schema of a video model"""
    return _schema("video", path)


@api.post("/api/run-image-model", access=Access.USER, budget="generate", responses=_RUN, description=_RUN_ABOUT)
def run_image_model(body: RunBody, header: GenerateHeaders) -> AcceptedResponse:
    """Run an image model of the provider"""
    return _run("image", body, header)


@api.post("/api/run-video-model", access=Access.USER, budget="generate", responses=_RUN, description=_RUN_ABOUT)
def run_video_model(body: RunBody, header: GenerateHeaders) -> AcceptedResponse:
    """Run a video model of the provider"""
    return _run("video", body, header)


@api.get(
    "/api/images/<generation:generation_id>",
    access=Access.USER,
    budget="read",
    polled=True,
    responses=_GET,
    description=_BY_ID,
)
def get_image(path: GenerationPath, query: SignedQuery) -> GenerationBody:
    """Get a generation of images"""
    return _generation(path, "image", query)


@api.get(
    "/api/videos/<generation_id>",
    access=Access.USER,
    budget="read",
    polled=True,
    responses=_GET,
    description=_BY_ID,
)
def get_video(path: GenerationPath, query: SignedQuery) -> GenerationBody:
    """Get a generation of videos"""
    return _generation(path, "video", query)


def _schema(media: Media, path: RemoteModelPath) -> RemoteSchemaBody:
    model = api_context().remote_models.describe_as(media, f"{path.owner}/{path.name}")
    spec = remote_spec(app_context().catalog, SOURCE, model.model, media)
    return RemoteSchemaBody.of(model, price_of(app_context(), spec))


def _generation(path: GenerationPath, media: Media, query: SignedQuery) -> GenerationBody:
    found = view_by_any_id(app_context(), path.generation_id, media)
    return GenerationBody.of(*found, sign=app_context().signed_urls.signing() if query.signed else None)


def _run(media: Media, body: RunBody, header: GenerateHeaders) -> AcceptedResponse:
    check_priority(body.priority)
    submitted = submit_remote(
        app_context(),
        api_context().remote_models,
        media,
        body.model,
        body.input,
        client_id=client_id(),
        source_image_id=body.source_image_id,
        priority=body.priority,
        idempotency_key=header.idempotency_key,
        webhook_url=body.webhook_url,
        request_id=request_id(),
    )
    return Accepted.of(submitted).response()
