"""Tools that draw: each submits to the queue, and all but one wait."""

from __future__ import annotations

from pydantic import ValidationError

from app.api.http.headers import request_id
from app.api.http.problems import refuse
from app.api.mcp.arguments import EditImage, GenerateImage, MakeVideo, SubmitGeneration, UpscaleImage, input_of
from app.api.mcp.content import generation_result
from app.api.mcp.messages import Call
from app.api.mcp.waiting import Waited, drawn, result_when_done
from app.api.security.client_identity import client_id
from app.api.server.context import ApiContext
from app.core.tasks import Task
from app.errors import FieldError, UnsupportedTask
from app.services.context import AppContext
from app.services.jobs.submit import submit
from app.services.jobs.upscale import UpscaleOrder, upscale
from app.services.models.choice import able_model

Drawing = GenerateImage | EditImage | MakeVideo | SubmitGeneration


def generate_image(here: ApiContext, call: Call, sent: GenerateImage, key: str | None) -> Waited:
    model = _checked(here.context, sent.model_id, "image")
    return result_when_done(here, call, lambda: _submit(here, sent, model, key), sent.wait_seconds, drawn)


def edit_image(here: ApiContext, call: Call, sent: EditImage, key: str | None) -> Waited:
    tasks: list[Task] = ["inpaint"] if sent.mask is not None else ["edit", "img2img"]
    model = _checked(here.context, sent.model_id or able_model(here.context, tasks).id, "image")
    return result_when_done(here, call, lambda: _submit(here, sent, model, key), sent.wait_seconds, drawn)


def make_video(here: ApiContext, call: Call, sent: MakeVideo, key: str | None) -> Waited:
    tasks: list[Task] = ["txt2video" if sent.image is None else "img2video"]
    model = _checked(here.context, sent.model_id or able_model(here.context, tasks).id, "video")
    return result_when_done(here, call, lambda: _submit(here, sent, model, key), sent.wait_seconds, drawn)


def submit_generation(here: ApiContext, call: Call, sent: SubmitGeneration, key: str | None) -> Waited:
    model = here.context.catalog.get(sent.model_id).id
    return result_when_done(here, call, lambda: _submit(here, sent, model, key), 0.0, generation_result)


def upscale_image(here: ApiContext, call: Call, sent: UpscaleImage, key: str | None) -> Waited:
    order = UpscaleOrder(sources=(sent.image,), factor=sent.factor, least_size=None, model=sent.model)

    def begin() -> str:
        client, request = client_id(), request_id()
        return upscale(here.context, order, client_id=client, idempotency_key=key, request_id=request).job_id

    return result_when_done(here, call, begin, sent.wait_seconds, drawn)


def _checked(context: AppContext, model_id: str | None, media: str) -> str:
    """The id of a model that makes `media`. Raises UnknownModel and UnsupportedTask."""
    spec = context.catalog.get(model_id)
    if spec.media != media:
        tool = "make_video" if spec.media == "video" else "generate_image"
        message = f"{spec.id} makes {spec.media}s: use the tool {tool}, or another model"
        raise UnsupportedTask(f"{message}.", errors=[FieldError("model_id", message)])
    return spec.id


def _submit(here: ApiContext, sent: Drawing, model_id: str, key: str | None) -> str:
    """The id of the new job. Raises what `submit` does."""
    try:
        asked = input_of(sent, model_id).with_renamed(sent.renamed)
    except ValidationError as error:
        refuse(error)
    webhook_url = sent.webhook_url if isinstance(sent, SubmitGeneration) else None
    return submit(
        here.context,
        asked,
        client_id=client_id(),
        idempotency_key=key,
        webhook_url=webhook_url,
        request_id=request_id(),
    ).job_id
