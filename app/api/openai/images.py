"""POST images/generations, images/edits and images/variations."""

from __future__ import annotations

from functools import partial

from flask import Response

from app.api.http import request_body
from app.api.http.openapi import blueprint
from app.api.native.generate import GenerateHeaders
from app.api.openai.answers import answer
from app.api.openai.asking import ask
from app.api.openai.bodies import Drawing, EditsBody, GenerationsBody, Presented, VariationsBody
from app.api.openai.errors import answers
from app.api.openai.stream import listener_of
from app.api.openai.translation import VARIATION_PROMPT
from app.api.routing import Access
from app.api.schemas.openai import ImagesAnswer
from app.api.server.context import ApiContext, api_context
from app.api.server.deferred_response import DeferredResponse
from app.api.server.event_response import streamed
from app.api.v1.generate import GENERATION_PROBLEMS
from app.api.v1.waiting import cancelling, name_job, when_done
from app.errors import ImageNotFound, InvalidImage, Unavailable

api = blueprint("openai_images", "OpenAI images", "openai")

Answer = ImagesAnswer | DeferredResponse | Response
_ANSWERS = answers(ImagesAnswer, InvalidImage, ImageNotFound, Unavailable, *GENERATION_PROBLEMS)
_ALSO = "Also `/v1/images/{0}`. For OpenAI's SDKs and what speaks like them. "
_WAITS = (
    "Goes through the same queue as every other request. A picture that is not there in time is 504 with `Retry-After`;"
    " the job goes on, and the SDKs' next try waits for the same job. Errors have OpenAI's shape."
)


@api.post(
    "/api/openai/v1/images/generations",
    access=Access.USER,
    budget="generate",
    responses=_ANSWERS,
    description=_ALSO.format("generations") + _WAITS,
)
def openai_generations(body: GenerationsBody, header: GenerateHeaders) -> Answer:
    """Make pictures, as OpenAI's API"""
    return _drawn(body, body.prompt, header, "image_generation")


@api.post(
    "/api/openai/v1/images/edits",
    access=Access.USER,
    budget="generate",
    accepts_files=True,
    responses=_ANSWERS,
    description=_ALSO.format("edits") + "As a form with files, or JSON. With a `mask` its transparent parts are painted"
    " anew; without one the model edits the picture, or draws it over. " + _WAITS,
)
def openai_edits(body: EditsBody, header: GenerateHeaders) -> Answer:
    """Edit pictures, as OpenAI's API"""
    return _drawn(body, body.prompt, header, "image_edit")


@api.post(
    "/api/openai/v1/images/variations",
    access=Access.USER,
    budget="generate",
    accepts_files=True,
    responses=_ANSWERS,
    description=_ALSO.format("variations")
    + "The picture is drawn over with a prompt that says nothing more. "
    + _WAITS,
)
def openai_variations(body: VariationsBody, header: GenerateHeaders) -> Answer:
    """Vary a picture, as OpenAI's API"""
    return _drawn(body, body.prompt or VARIATION_PROMPT, header, "image_variation")


def _drawn(body: Drawing, prompt: str, header: GenerateHeaders, kind: str) -> Answer:
    here = api_context()
    if isinstance(body, Presented) and body.stream:
        return _streamed(here, body, prompt, header, kind)
    submitted, wanted = ask(here.context, body, prompt, header.idempotency_key)
    request_body.forget(body)
    name_job(submitted.job_id)
    leaving = cancelling(here, submitted.job_id)
    return when_done(here, submitted.job_id, None, partial(answer, here.context, wanted), leaving)


def _streamed(here: ApiContext, body: Presented, prompt: str, header: GenerateHeaders, kind: str) -> Answer:
    """The place of the stream is taken first: a job whose stream is refused would be of no use."""
    here.stream_hub.reserve()
    try:
        submitted, wanted = ask(here.context, body, prompt, header.idempotency_key)
        request_body.forget(body)
        name_job(submitted.job_id)
        leaving = cancelling(here, submitted.job_id)
        listener = listener_of(here, submitted.job_id, kind, wanted, on_disconnect=leaving)
    except BaseException:
        here.stream_hub.release()
        raise
    return streamed(here, listener, f": job {submitted.job_id}\n".encode())
