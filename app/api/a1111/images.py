"""POST txt2img and img2img."""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import Any

from app.api.a1111.bodies import Img2ImgRequest, Txt2ImgRequest
from app.api.a1111.clients import clients
from app.api.a1111.errors import answers
from app.api.a1111.options import wanted_model
from app.api.a1111.translation import Translated, translated
from app.api.http import request_body
from app.api.http.headers import request_id
from app.api.http.openapi import blueprint
from app.api.native.generate import GenerateHeaders
from app.api.routing import Access
from app.api.schemas.a1111 import DrawnImages
from app.api.security.client_identity import client_id
from app.api.server.context import api_context
from app.api.server.deferred_response import DeferredResponse
from app.api.v1.generate import GENERATION_PROBLEMS
from app.api.v1.waiting import cancelling, name_job, raise_what_went_wrong, when_done
from app.core.job import JobStatus, JobView
from app.core.output import Output
from app.core.request import GenerationRequest
from app.errors import InvalidImage, InvalidRequest, StillRunning, Unavailable
from app.files.metadata import parameters_text
from app.services.context import AppContext
from app.services.jobs.submit import Submission, submit
from app.services.media import gallery
from app.services.models.capabilities import known_spec
from app.services.urls import url

api = blueprint("a1111_images", "AUTOMATIC1111", "a1111")

_MOST_PARAMETERS = 65_536  # characters of JSON, kept until the answer
_ANSWERS = answers(DrawnImages, InvalidImage, Unavailable, *GENERATION_PROBLEMS)
_NESTED = "settings."
_CHOSEN_BY = {"sigmas": "scheduler", "timestep_spacing": "scheduler"}  # `DPM++ 2M Karras` is both


@api.post(
    "/sdapi/v1/txt2img",
    access=Access.USER,
    budget="generate",
    accepts_files=True,
    responses=_ANSWERS,
    description="Goes through the same queue as every other request, and waits for the picture.",
)
def a1111_txt2img(body: Txt2ImgRequest, header: GenerateHeaders) -> DrawnImages | DeferredResponse:
    """Make pictures, as AUTOMATIC1111"""
    return _drawn(body, header)


@api.post(
    "/sdapi/v1/img2img",
    access=Access.USER,
    budget="generate",
    accepts_files=True,
    responses=_ANSWERS,
    description="With a `mask` only what is white in it is painted anew. Waits for the picture.",
)
def a1111_img2img(body: Img2ImgRequest, header: GenerateHeaders) -> DrawnImages | DeferredResponse:
    """Make pictures of a picture, as AUTOMATIC1111"""
    return _drawn(body, header)


def _drawn(body: Txt2ImgRequest, header: GenerateHeaders) -> DrawnImages | DeferredResponse:
    here = api_context()
    wanted = translated(here.context, body, known_spec(here.context, wanted_model(here.context, body)))
    submitted, wanted = _submitted(here.context, body, wanted, header.idempotency_key)
    parameters = _parameters(body)
    request_body.forget(body)
    name_job(submitted.job_id)
    _remember(body.force_task_id, submitted.job_id)
    answer = partial(_answer, here.context, wanted, parameters, body.send_images)
    return when_done(here, submitted.job_id, None, answer, cancelling(here, submitted.job_id))


def _parameters(body: Txt2ImgRequest) -> dict[str, Any]:
    """What was asked for, to be told again: without pictures, and nothing where it is too long."""
    told = {name: value for name, value in body.model_dump().items() if name not in request_body.PICTURES}
    return told if len(json.dumps(told)) <= _MOST_PARAMETERS else {}


def _submitted(
    context: AppContext, body: Txt2ImgRequest, wanted: Translated, idempotency_key: str | None
) -> tuple[Submission, Translated]:
    """Enqueue it; without optional settings that the model does not take, since clients send them always."""
    about: dict[str, Any] = {"client_id": client_id(), "idempotency_key": idempotency_key, "request_id": request_id()}
    while True:
        try:
            return submit(context, wanted.asked, webhook_url=body.webhook_url, **about), wanted
        except InvalidRequest as error:
            refused = (one.field.removeprefix(_NESTED).partition(".")[0] for one in error.errors)
            less = wanted.without({_CHOSEN_BY.get(name, name) for name in refused})
            if less is None:
                raise
            wanted = less


def _remember(task: str | None, job_id: str) -> None:
    """For `progress` and `interrupt`."""
    known = clients()
    known.of(client_id()).add_job(job_id)
    if task:
        known.name_task(client_id(), task, job_id)


def _answer(
    context: AppContext, wanted: Translated, parameters: dict[str, Any], send_images: bool, view: JobView
) -> DrawnImages:
    """Raises the job's own error, and StillRunning while it runs."""
    raise_what_went_wrong(view)
    if view.job.status is not JobStatus.COMPLETED:
        address = url(f"/api/status/{view.job.id}")
        raise StillRunning(f"The picture is not ready yet, and the job goes on: ask at {address}.", retry_after=1)
    info = _info(view, wanted)
    images = [_encoded(context, output) for output in view.outputs] if send_images else []
    return DrawnImages.read(images=images, parameters=parameters, info=json.dumps(info, ensure_ascii=False))


def _encoded(context: AppContext, output: Output) -> str:
    return base64.b64encode(gallery.read_file(context, output)).decode()


def _info(view: JobView, wanted: Translated) -> dict[str, Any]:
    request, outputs = view.job.request, view.outputs
    seeds = [output.seed for output in outputs]
    count = len(outputs)
    return {
        "prompt": request.prompt,
        "all_prompts": [request.prompt] * count,
        "negative_prompt": request.negative_prompt or "",
        "all_negative_prompts": [request.negative_prompt or ""] * count,
        "seed": seeds[0] if seeds else request.seed,
        "all_seeds": seeds,
        "subseed": -1,
        "all_subseeds": [-1] * count,
        "subseed_strength": 0,
        "width": outputs[0].width if outputs else request.width,
        "height": outputs[0].height if outputs else request.height,
        "sampler_name": wanted.sampler or "",
        "cfg_scale": request.guidance_scale,
        "steps": request.num_inference_steps,
        "batch_size": count,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": request.model_id,
        "sd_model_hash": "",
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": request.strength if request.upscale is None else request.upscale.strength,
        "extra_generation_params": _second_pass(request),
        "index_of_first_image": 0,
        "infotexts": [_infotext(output) for output in outputs],
        "styles": [],
        "job_timestamp": "0",
        "clip_skip": 1,
        "is_using_inpainting_conditioning": False,
        "version": "",
        "job_id": view.job.id,
        "warnings": [*wanted.notes, *view.job.warnings],
    }


def _second_pass(request: GenerationRequest) -> dict[str, Any]:
    second = request.upscale
    if second is None:
        return {}
    return {"Hires upscale": second.factor, "Hires steps": second.steps, "Hires upscaler": second.model}


def _infotext(output: Output) -> str:
    return parameters_text(output.manifest) if "settings" in output.manifest else ""
