"""POST extra-single-image and extra-batch-images: pictures enlarged by an upscaler."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from html import escape
from typing import Any, TypeVar

from app.api.a1111.bodies import ExtrasBatchBody, ExtrasBody, ExtrasSingleBody
from app.api.a1111.clients import clients
from app.api.a1111.errors import answers
from app.api.http import request_body
from app.api.http.headers import request_id
from app.api.http.openapi import blueprint
from app.api.native.generate import GenerateHeaders
from app.api.routing import Access
from app.api.schemas.a1111 import UpscaledImage, UpscaledImages
from app.api.security.client_identity import client_id
from app.api.server.context import api_context
from app.api.server.deferred_response import DeferredResponse
from app.api.v1.waiting import cancelling, name_job, raise_what_went_wrong, when_done
from app.core.job import JobStatus, JobView
from app.errors import (
    DiskFull,
    InvalidImage,
    InvalidRequest,
    QueueFull,
    StillRunning,
    Unavailable,
    UnknownModel,
)
from app.services.context import AppContext
from app.services.jobs.upscale import UpscaleOrder, upscale
from app.services.media import gallery
from app.services.urls import url

api = blueprint("a1111_upscaling", "AUTOMATIC1111", "a1111")

_PROBLEMS = (InvalidImage, InvalidRequest, UnknownModel, QueueFull, DiskFull, Unavailable)
_TO_A_SIZE = 1  # resize_mode
Made = TypeVar("Made", UpscaledImage, UpscaledImages)
_IGNORED = ("gfpgan_visibility", "codeformer_visibility", "extras_upscaler_2_visibility")


@api.post(
    "/sdapi/v1/extra-single-image",
    access=Access.USER,
    budget="generate",
    accepts_files=True,
    responses=answers(UpscaledImage, *_PROBLEMS),
    description="Goes through the same queue as every other request, and waits for the picture.",
)
def a1111_extra_single_image(body: ExtrasSingleBody, header: GenerateHeaders) -> UpscaledImage | DeferredResponse:
    """Upscale a picture, as AUTOMATIC1111"""
    return _upscaled(body, [body.image], header, _single)


@api.post(
    "/sdapi/v1/extra-batch-images",
    access=Access.USER,
    budget="generate",
    accepts_files=True,
    responses=answers(UpscaledImages, *_PROBLEMS),
    description="One job for all of them, each enlarged by the same factor.",
)
def a1111_extra_batch_images(body: ExtrasBatchBody, header: GenerateHeaders) -> UpscaledImages | DeferredResponse:
    """Upscale pictures, as AUTOMATIC1111"""
    return _upscaled(body, [one.data for one in body.imageList], header, _several)


def _upscaled(
    body: ExtrasBody, pictures: Sequence[str], header: GenerateHeaders, answer: Callable[[list[str], str], Made]
) -> Made | DeferredResponse:
    here = api_context()
    to_a_size = body.resize_mode == _TO_A_SIZE
    order = UpscaleOrder(
        sources=tuple(pictures),
        factor=body.upscaling_resize,
        least_size=(body.upscaling_resize_w, body.upscaling_resize_h) if to_a_size else None,
        model=None if body.upscaler_1.strip().casefold() in ("", "none") else body.upscaler_1.strip(),
    )
    about: dict[str, Any] = {
        "client_id": client_id(),
        "idempotency_key": header.idempotency_key,
        "request_id": request_id(),
    }
    submitted = upscale(here.context, order, webhook_url=body.webhook_url, **about)
    notes = tuple(_unused(body))
    request_body.forget(body)
    name_job(submitted.job_id)
    clients().of(client_id()).add_job(submitted.job_id)  # for `progress` and `interrupt`
    ready = partial(_answer, here.context, notes, answer)
    return when_done(here, submitted.job_id, None, ready, cancelling(here, submitted.job_id))


def _answer(context: AppContext, notes: Sequence[str], answer: Callable[[list[str], str], Made], view: JobView) -> Made:
    """Raises the job's own error, and StillRunning while it runs."""
    raise_what_went_wrong(view)
    if view.job.status is not JobStatus.COMPLETED:
        address = url(f"/api/status/{view.job.id}")
        raise StillRunning(f"The picture is not ready yet, and the job goes on: ask at {address}.", retry_after=1)
    images = [base64.b64encode(gallery.read_file(context, output)).decode() for output in view.outputs]
    told = (f"Upscaled by {view.job.request.model_id}.", *notes, *view.job.warnings)
    return answer(images, "".join(f"<p>{escape(line)}</p>" for line in told))


def _single(images: list[str], html_info: str) -> UpscaledImage:
    return UpscaledImage(html_info=html_info, image=images[0])


def _several(images: list[str], html_info: str) -> UpscaledImages:
    return UpscaledImages(html_info=html_info, images=images)


def _unused(body: ExtrasBody) -> Iterator[str]:
    yield from (f"{name} was not used." for name in _IGNORED if body.extras.get(name))
    if body.resize_mode == _TO_A_SIZE and body.upscaling_crop:
        yield "upscaling_crop was not used: the picture covers the size, and nothing is cut off."
