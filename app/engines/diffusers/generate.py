"""Run a loaded pipeline for a request. It draws one picture at a time: each equals the one its seed gives alone."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from app.core.job import Phase
from app.core.request import GenerationRequest
from app.engines.base import Control, GeneratedImage, Generation, Inputs, Pixels
from app.engines.diffusers.call import Call, word_call
from app.engines.diffusers.demo import vocabulary_warnings
from app.engines.diffusers.preview import Previewer
from app.engines.diffusers.residency import LoadedModel
from app.engines.diffusers.siblings import pipeline_for
from app.engines.diffusers.versions import versions_of
from app.engines.diffusers.watch import Watch
from app.errors import Cancelled, GenerationError

FloatPixels = npt.NDArray[np.float32]


class NotFinite(Exception):
    """The pipeline gave NaN or infinity: its precision does not hold the numbers of this model."""


def generate(
    model: LoadedModel, request: GenerationRequest, control: Control, inputs: Inputs, *, previews: bool = True
) -> Generation:
    """All pictures of `request`. Raises Cancelled, GenerationError, UnsupportedTask, NotFinite; out of memory passes
    through."""
    pipeline = pipeline_for(model, request.task)
    call = word_call(pipeline, request, inputs, _sequence_length(model))
    previewer = Previewer(pipeline, request.width, request.height) if previews else None
    watch = Watch(control, request.steps_run, request.num_images, previewer)
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
    images: list[GeneratedImage] = []
    for index in range(request.num_images):
        watch.begin_image(index)
        seed = request.seed + index
        picture = to_pixels(draw(pipeline, call.arguments, seed, watch))
        images.append(GeneratedImage(_kept_where_unmasked(picture, inputs), seed))
    watch.enter(Phase.DONE)
    height, width, _ = images[0].pixels.shape
    return Generation(
        images=images,
        effective=dict(call.effective)
        | {"width": width, "height": height, "seed": request.seed, "num_images": request.num_images}
        | {"steps_run": watch.steps},
        versions=versions_of(model, pipeline),
        timings=watch.seconds,
        warnings=(
            *_warnings(model, pipeline, call),
            *vocabulary_warnings(model.pipeline, request.prompt, model.checkpoint.demo),
        ),
        vram_peak_bytes=torch.cuda.max_memory_allocated(model.device) if model.device.type == "cuda" else 0,
    )


def draw(pipeline: Any, arguments: Mapping[str, Any], seed: int, watch: Watch) -> FloatPixels:
    """One picture, shape (height, width, 3), 0 to 1: exactly what the pipeline gives with `output_type="np"`.

    Raises Cancelled, GenerationError when the pipeline refuses its arguments, and NotFinite.
    """
    denoiser = _denoiser(pipeline)
    watched = "callback_on_step_end" in inspect.signature(pipeline.__call__).parameters
    hook = denoiser.register_forward_pre_hook(watch.before_denoiser) if denoiser is not None else None
    try:
        with torch.inference_mode():
            output = pipeline(
                **arguments,
                generator=torch.Generator("cpu").manual_seed(seed),
                output_type="np",
                **({"callback_on_step_end": watch.on_step_end} if watched else {}),
            )
    except ValueError as error:
        raise GenerationError(f"The pipeline does not take this request: {error}") from error
    except UnboundLocalError:  # Sana's pipelines make a warning of it and go on without a picture
        raise torch.OutOfMemoryError("out of memory while the picture was decoded") from None
    finally:
        if hook is not None:
            hook.remove()
        _forget_cached_steps(pipeline)
    if watch.cancelled:
        raise Cancelled
    pixels: FloatPixels = output.images[0]
    if not (watch.finite and np.isfinite(pixels).all()):
        raise NotFinite
    return pixels


def to_pixels(picture: FloatPixels) -> npt.NDArray[np.uint8]:
    """0-1 to 0-255, rounded as diffusers does it."""
    return (picture * 255).round().astype(np.uint8)


def _kept_where_unmasked(picture: Pixels, inputs: Inputs) -> Pixels:
    """What the mask leaves black stays as it was, to the last bit: the VAE would change it a little. Grey blends."""
    if "mask" not in inputs or picture.shape != inputs["image"].shape:
        return picture
    weight = inputs["mask"][..., None].astype(np.float32) / 255
    blended = picture * weight + inputs["image"] * (1 - weight)
    return blended.round().astype(np.uint8)


def _denoiser(pipeline: Any) -> torch.nn.Module | None:
    for name in ("transformer", "unet"):
        part = getattr(pipeline, name, None)
        if isinstance(part, torch.nn.Module):
            return part
    return None


def _forget_cached_steps(pipeline: Any) -> None:
    """A step cache left by a call that ended early would silently spoil the next picture of the same size."""
    for part in pipeline.components.values():
        if getattr(part, "is_cache_enabled", False):
            part._reset_stateful_cache()


def _sequence_length(model: LoadedModel) -> int | None:
    demo = model.checkpoint.demo
    return model.spec.defaults.max_sequence_length or (demo.max_sequence_length if demo else None)


def _warnings(model: LoadedModel, pipeline: Any, call: Call) -> tuple[str, ...]:
    if "negative_prompt" in call.arguments and getattr(pipeline, "do_classifier_free_guidance", True) is False:
        unused = f"{model.spec.id} reads a negative prompt only with a guidance_scale above 1; it was ignored."
        return (*call.warnings, unused)
    return call.warnings
