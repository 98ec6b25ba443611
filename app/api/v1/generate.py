"""A prompt in, or a prompt and a picture; a picture out, in one call."""

from __future__ import annotations

from app.api.http import request_body
from app.api.http.openapi import blueprint, responses
from app.api.native.generate import GenerateHeaders
from app.api.routing import Access
from app.api.schemas.v1 import Pictures, StillWorking
from app.api.server.context import api_context
from app.api.server.deferred_response import DeferredResponse
from app.api.v1.asking import ask
from app.api.v1.bodies import Img2ImgBody, Txt2ImgBody
from app.api.v1.waiting import Answer, answer
from app.errors import (
    ContentBlocked,
    DiskFull,
    EmbeddingIncompatible,
    EmbeddingUnavailable,
    GenerationError,
    GenerationTimeout,
    IdempotencyConflict,
    InputModelIncompatible,
    InputModelUnavailable,
    InvalidImage,
    InvalidRequest,
    JobCancelled,
    LoraIncompatible,
    LoraUnavailable,
    ModelRequiresAuth,
    ModelUnavailable,
    NoCapableWorker,
    OutOfMemory,
    PayloadTooLarge,
    PromptTooLong,
    ProviderError,
    QueueFull,
    SpendLimit,
    SuspiciousInput,
    Unavailable,
    UnknownModel,
    UnsupportedMediaType,
    UnsupportedTask,
    WorkerDied,
)

api = blueprint("v1_generate", "v1", "v1")

GENERATION_PROBLEMS = (
    InvalidRequest,
    PromptTooLong,
    SuspiciousInput,
    UnknownModel,
    UnsupportedTask,
    ContentBlocked,
    ModelRequiresAuth,
    LoraUnavailable,
    NoCapableWorker,
    LoraIncompatible,
    InputModelUnavailable,
    InputModelIncompatible,
    EmbeddingUnavailable,
    EmbeddingIncompatible,
    JobCancelled,
    PayloadTooLarge,
    UnsupportedMediaType,
    IdempotencyConflict,
    QueueFull,
    SpendLimit,
    GenerationError,
    WorkerDied,
    ProviderError,
    ModelUnavailable,
    GenerationTimeout,
    DiskFull,
    OutOfMemory,
)


_TXT2IMG = (
    "Also `/api/v1/txt2img`, `/v1/generate/txt2img` and `/v1/txt2img`. Goes through the same queue as every other"
    " request. When the picture takes longer than `timeout`, or when MAX_EVENT_STREAMS connections wait"
    " already, the answer is 202 with the job's URL and the work goes on. Going away cancels nothing. A job that fails"
    " answers its own error."
)
_IMG2IMG = (
    "Also `/api/v1/img2img`, `/v1/generate/img2img` and `/v1/img2img`. Answers like `txt2img`. The picture may also be"
    " a file of a form (`multipart/form-data`); with a `mask` only what is white in it is painted anew."
)


@api.post(
    "/api/v1/generate/txt2img",
    access=Access.USER,
    budget="generate",
    accepts_files=True,
    responses=responses({200: Pictures, 202: StillWorking}, InvalidImage, Unavailable, *GENERATION_PROBLEMS),
    description=_TXT2IMG,
)
def v1_txt2img(body: Txt2ImgBody, header: GenerateHeaders) -> Answer | DeferredResponse:
    """Make pictures and answer with them"""
    return _generated(body, header)


@api.post(
    "/api/v1/generate/img2img",
    access=Access.USER,
    budget="generate",
    accepts_files=True,
    responses=responses({200: Pictures, 202: StillWorking}, InvalidImage, Unavailable, *GENERATION_PROBLEMS),
    description=_IMG2IMG,
)
def v1_img2img(body: Img2ImgBody, header: GenerateHeaders) -> Answer | DeferredResponse:
    """Make pictures of a picture and answer with them"""
    return _generated(body, header)


def _generated(body: Txt2ImgBody | Img2ImgBody, header: GenerateHeaders) -> Answer | DeferredResponse:
    here = api_context()
    submitted = ask(here.context, body, header.idempotency_key)
    request_body.forget(body)
    return answer(here, submitted, body.timeout)
