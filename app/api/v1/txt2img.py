"""A prompt in, a picture out, in one call."""

from __future__ import annotations

from app.api.clients import client_id
from app.api.documented import answers, blueprint
from app.api.generate import GenerateHeaders
from app.api.request_id import request_id
from app.api.schemas.v1 import Pictures, StillWorking
from app.api.server import server
from app.api.v1.bodies import Txt2ImgBody, flat_field_names
from app.api.v1.waiting import Answer, answer
from app.errors import (
    DiskFull,
    GenerationError,
    GenerationTimeout,
    IdempotencyConflict,
    InvalidRequest,
    JobCancelled,
    ModelRequiresAuth,
    ModelUnavailable,
    OutOfMemory,
    PayloadTooLarge,
    PromptTooLong,
    ProviderError,
    QueueFull,
    UnknownModel,
    UnsupportedMediaType,
    WorkerDied,
)
from app.services.submit import submit

api = blueprint("v1_txt2img", "v1")

GENERATION_PROBLEMS = (
    InvalidRequest,
    PromptTooLong,
    UnknownModel,
    ModelRequiresAuth,
    JobCancelled,
    PayloadTooLarge,
    UnsupportedMediaType,
    IdempotencyConflict,
    QueueFull,
    GenerationError,
    WorkerDied,
    ProviderError,
    ModelUnavailable,
    GenerationTimeout,
    DiskFull,
    OutOfMemory,
)


@api.post(
    "/api/v1/generate/txt2img",
    responses=answers({200: Pictures, 202: StillWorking}, *GENERATION_PROBLEMS),
    description="Also `/api/v1/txt2img`, `/v1/generate/txt2img` and `/v1/txt2img`. Goes through the same queue as every"
    " other request. When the picture takes longer than `timeout`, or when as many requests wait as the server has"
    " threads for, the answer is 202 with the job's URL and the work goes on. Going away cancels nothing. A job that"
    " fails answers its own error.",
)
def v1_txt2img(body: Txt2ImgBody, header: GenerateHeaders) -> Answer:
    """Make pictures and answer with them"""
    here = server()
    with flat_field_names():
        submitted = submit(
            here.installation,
            body.asked(),
            client_id=client_id(),
            idempotency_key=header.idempotency_key,
            request_id=request_id(),
        )
    return answer(here, submitted, body.timeout)
