"""Enlarge pictures, and list the upscalers; where a picture comes from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.api.http.headers import request_id
from app.api.http.openapi import ImagePath, blueprint, responses
from app.api.native.generate import GenerateHeaders
from app.api.routing import Access
from app.api.schemas.images import LineageBody
from app.api.schemas.jobs import Accepted, AcceptedResponse
from app.api.schemas.upscalers import UpscalerBody, UpscalersBody
from app.api.security.client_identity import check_priority, client_id
from app.api.server.context import app_context
from app.core.json_values import Body, Integer
from app.core.latent_modes import LATENT_MODES
from app.core.upscaling import FACTORS
from app.core.webhooks import URL_MAX_CHARS
from app.errors import (
    DiskFull,
    Forbidden,
    Gone,
    IdempotencyConflict,
    ImageNotFound,
    InvalidImage,
    InvalidRequest,
    NoCapableWorker,
    QueueFull,
    UnknownModel,
)
from app.services.jobs.upscale import upscale_image
from app.services.media.lineage import lineage_of
from app.services.models.upscalers import listing

api = blueprint("upscale", "images")


class UpscaleBody(Body):
    factor: Literal[2, 4] = Field(default=2, description="How many times wider and higher.")
    model: str | None = Field(
        default=None,
        min_length=1,
        max_length=300,
        description="An upscaler of `GET /api/upscalers`; absent: the first of the installation, `drawings-x2` for"
        " pictures of the built-in models, else `lanczos`.",
    )
    priority: Integer = Field(default=0, ge=-10, le=10, description="Higher runs earlier; above 0 for administrators.")
    webhook_url: str | None = Field(default=None, max_length=URL_MAX_CHARS, description="As for `POST /api/generate`.")


@api.post(
    "/api/image/<image_id>/upscale",
    access=Access.USER,
    budget="generate",
    responses=responses(
        {202: Accepted},
        InvalidRequest,
        NoCapableWorker,
        InvalidImage,
        UnknownModel,
        Forbidden,
        ImageNotFound,
        Gone,
        IdempotencyConflict,
        QueueFull,
        DiskFull,
    ),
    description="As a new job, whose picture is enlarged by an upscaler, in tiles, transparency kept. The steps of its"
    " progress are tiles. Beyond MAX_PIXELS it is refused.",
)
def upscale_picture(path: ImagePath, body: UpscaleBody, header: GenerateHeaders) -> AcceptedResponse:
    """Enlarge an image"""
    check_priority(body.priority)
    submitted = upscale_image(
        app_context(),
        path.image_id,
        factor=body.factor,
        model=body.model,
        client_id=client_id(),
        priority=body.priority,
        idempotency_key=header.idempotency_key,
        webhook_url=body.webhook_url,
        request_id=request_id(),
    )
    return Accepted.of(submitted).response()


@api.get(
    "/api/image/<image_id>/lineage",
    access=Access.USER,
    budget="read",
    responses=responses({200: LineageBody}, ImageNotFound, Gone),
    description="Only pictures that the client may see, and that still exist: a chain ends at one that was removed.",
)
def image_lineage(path: ImagePath) -> LineageBody:
    """List what an image was made from, and what was made from it"""
    return LineageBody.of(lineage_of(app_context(), path.image_id, client_id=client_id()))


@api.get("/api/upscalers", access=Access.USER, budget="read", responses=responses({200: UpscalersBody}))
def list_upscalers() -> UpscalersBody:
    """List the upscalers"""
    states = listing(app_context())
    listed = [UpscalerBody.of(state) for state in states]
    return UpscalersBody(upscalers=listed, factors=list(FACTORS), latent_modes=list(LATENT_MODES))
