"""Submit a picture to be enlarged by an upscaler: a job like any other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.core.output import Output
from app.core.request import GenerationRequest
from app.core.rerun import RerunOf
from app.core.tasks import UPSCALE
from app.core.upscaling import Upscale, upscaled_size
from app.errors import FieldError, InvalidImage, InvalidRequest
from app.services.context import AppContext
from app.services.jobs.submit import Submission, earlier_submission, keyed, refuse_when_no_room, store
from app.services.media.input_images import WholePictures, read_whole, usable_image
from app.services.models.fleet import fleet_of
from app.services.models.runnable import check_runnable
from app.services.models.upscalers import find_upscaler
from app.services.webhooks.signing import check_url


@dataclass(frozen=True)
class UpscaleOrder:
    """`sources` are pictures as inputs take them: base64, a data URI, the id of a gallery picture, or a URL; each is
    enlarged by `factor`, or the first one until it covers `least_size`. `model` is the upscaler's name, None for the
    usual one. `prompt`, `negative_prompt`, `seed` and `drawn_by` are those of the picture."""

    sources: Sequence[str]
    factor: float
    least_size: tuple[int, int] | None = None
    model: str | None = None
    prompt: str = ""
    negative_prompt: str | None = None
    seed: int | None = None
    drawn_by: str | None = None


def upscale_image(
    context: AppContext, image_id: str, *, factor: float, model: str | None, client_id: str, **about: object
) -> Submission:
    """`upscale` for a gallery picture. Raises ImageNotFound, Gone and what `upscale` does."""
    output = usable_image(context, image_id, client_id=client_id)
    if output.media != "image":
        message = "is a video; only a picture can be enlarged"
        raise InvalidImage(f"The image {message}.", errors=[FieldError("image", message)])
    return upscale(context, _order_for(output, factor, model), client_id=client_id, **about)  # type: ignore[arg-type]


def _order_for(output: Output, factor: float, model: str | None) -> UpscaleOrder:
    manifest = output.manifest
    return UpscaleOrder(
        sources=(output.id,),
        factor=factor,
        model=model,
        prompt=str(manifest.get("prompt") or ""),
        negative_prompt=manifest.get("negative_prompt"),
        seed=output.seed,
        drawn_by=output.model_id,
    )


def upscale(
    context: AppContext,
    order: UpscaleOrder,
    *,
    client_id: str,
    priority: int = 0,
    idempotency_key: str | None = None,
    webhook_url: str | None = None,
    request_id: str | None = None,
    rerun_of: RerunOf | None = None,
) -> Submission:
    """Enqueue the enlargement of a picture. Once this returns, the job survives any crash.

    Raises InvalidRequest, InvalidImage, UnknownModel, NoCapableWorker, IdempotencyConflict, QueueFull or DiskFull;
    nothing is stored then.
    """
    idempotency = keyed(idempotency_key, lambda: _digest(order, priority, webhook_url))
    if (earlier := earlier_submission(context, client_id, idempotency)) is not None:
        return earlier
    spec = find_upscaler(context, order.model, "model", drawn_by=order.drawn_by)
    if webhook_url is not None:
        check_url(context, webhook_url)
    read = read_whole(context, order.sources, client_id=client_id)
    request = _request(context, replace(order, model=spec.id), read, rerun_of)
    refuse_when_no_room(context, request)
    check_runnable(context, fleet_of(context), request)
    return store(
        context,
        request,
        spec,
        client_id=client_id,
        priority=priority,
        warnings=(*read.notes, *(rerun_of.notes if rerun_of is not None else ())),
        webhook_url=webhook_url,
        idempotency=idempotency,
        request_id=request_id,
        pictures=read.pictures,
    )


def _request(
    context: AppContext, order: UpscaleOrder, read: WholePictures, rerun_of: RerunOf | None
) -> GenerationRequest:
    factor = order.factor
    if order.least_size is not None:
        factor = max(wanted / own for wanted, own in zip(order.least_size, read.sizes[0], strict=True))
    try:
        sizes = [upscaled_size(size, factor, context.settings.max_pixels) for size in read.sizes]
    except ValueError as problem:
        raise InvalidRequest(f"factor: {problem}.", errors=[FieldError("factor", str(problem))]) from None
    model_id = order.model or ""
    return GenerationRequest(
        model_id=model_id,
        prompt=order.prompt,
        negative_prompt=order.negative_prompt,
        num_inference_steps=0,
        width=sizes[0][0],
        height=sizes[0][1],
        seed=order.seed or 0,
        num_images=len(read.pictures),
        task=UPSCALE,
        upscale=Upscale(factor=factor, model=model_id),
        pictures=tuple(picture.ref for picture in read.pictures),
        rerun_of=rerun_of,
    )


def _digest(order: UpscaleOrder, priority: int, webhook_url: str | None) -> str:
    sources = [hashlib.sha256(source.encode()).hexdigest() for source in order.sources]
    asked = ["upscale", sources, order.factor, order.least_size, order.model, priority, webhook_url or ""]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()
