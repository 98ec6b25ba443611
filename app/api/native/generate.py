"""POST /api/generate."""

from __future__ import annotations

from pydantic import Field

from app.api.http.headers import request_id
from app.api.http.openapi import blueprint, responses
from app.api.http.request_model import RequestModel
from app.api.routing import Access
from app.api.schemas.jobs import Accepted, AcceptedResponse
from app.api.security.client_identity import check_priority, client_id
from app.api.server.context import app_context
from app.core.json_values import Integer
from app.core.request import GenerationInput
from app.core.webhooks import URL_MAX_CHARS
from app.errors import (
    DiskFull,
    EmbeddingIncompatible,
    EmbeddingUnavailable,
    Forbidden,
    IdempotencyConflict,
    InputModelIncompatible,
    InputModelUnavailable,
    InvalidImage,
    InvalidRequest,
    LoraIncompatible,
    LoraUnavailable,
    NoCapableWorker,
    PayloadTooLarge,
    PromptTooLong,
    QueueFull,
    SpendLimit,
    SuspiciousInput,
    Unavailable,
    UnknownModel,
    UnsupportedMediaType,
    UnsupportedTask,
)
from app.services.jobs.submit import submit

api = blueprint("generate", "generate")


class GenerateBody(GenerationInput):
    priority: Integer = Field(default=0, ge=-10, le=10, description="Higher runs earlier; above 0 for administrators.")
    webhook_url: str | None = Field(
        default=None,
        max_length=URL_MAX_CHARS,
        description="Gets a signed POST when the job has ended, retried for a day. http or https, a public address.",
    )


class GenerateHeaders(RequestModel):
    idempotency_key: str | None = Field(
        default=None,
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x20-\x7e]+$",
        description="Sending the same request again with the same key makes no second job, also after a restart.",
    )


@api.post(
    "/api/generate",
    access=Access.USER,
    budget="generate",
    accepts_files=True,
    responses=responses(
        {202: Accepted},
        InvalidRequest,
        PromptTooLong,
        SuspiciousInput,
        InvalidImage,
        UnsupportedTask,
        LoraUnavailable,
        NoCapableWorker,
        LoraIncompatible,
        InputModelUnavailable,
        InputModelIncompatible,
        EmbeddingUnavailable,
        EmbeddingIncompatible,
        UnknownModel,
        Forbidden,
        PayloadTooLarge,
        UnsupportedMediaType,
        IdempotencyConflict,
        QueueFull,
        SpendLimit,
        DiskFull,
        Unavailable,
    ),
    description="Answers as soon as the job is safely stored. Unknown fields are refused by name. With an `image` the"
    " model starts from that picture (img2img), with a `mask` too it repaints a part of it (inpaint). Pictures may also"
    " be sent as files of a form (`multipart/form-data`), whose other fields are the members of the body, `settings`"
    " and `priority` as JSON.",
)
def generate(body: GenerateBody, header: GenerateHeaders) -> AcceptedResponse:
    """Enqueue a generation"""
    check_priority(body.priority)
    submitted = submit(
        app_context(),
        body,
        client_id=client_id(),
        priority=body.priority,
        idempotency_key=header.idempotency_key,
        webhook_url=body.webhook_url,
        request_id=request_id(),
    )
    return Accepted.of(submitted).response()
