"""Runs a loaded pipeline for a request. Each image depends on its own seed only, whatever the batch size."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import diffusers
import numpy as np
import numpy.typing as npt
import torch
import transformers

from app.core.families.lookup import USUAL_FPS, video_rules
from app.core.job import Phase
from app.core.request import GenerationRequest
from app.core.tasks import TXT2IMG
from app.engines.base import Control, GeneratedImage, GeneratedVideo, Generation, Inputs, PartlyDrawn
from app.engines.diffusers.generate.arguments import PipelineArguments, pipeline_arguments, with_conditioning
from app.engines.diffusers.generate.control_pictures import NO_AUXILIARIES, Auxiliaries, Conditioning, conditioning_of
from app.engines.diffusers.generate.embeddings import Embedding
from app.engines.diffusers.generate.outputs import FloatPixels, pictures_of, sounds_of
from app.engines.diffusers.generate.overflow import NotFinite
from app.engines.diffusers.generate.preview import Previewer
from app.engines.diffusers.generate.progress import ProgressHook, scheduler_steps
from app.engines.diffusers.generate.prompt_parts import encoded
from app.engines.diffusers.generate.schedulers import scheduler_of
from app.engines.diffusers.generate.task_pipelines import task_for
from app.engines.diffusers.load.demo import vocabulary_warnings
from app.engines.diffusers.load.precision import dtype_name
from app.engines.diffusers.memory.loaded import LoadedModel
from app.errors import Cancelled, GenerationError
from app.files.media import Sound, encode_mp4


@dataclass(frozen=True)
class Drawn:
    """What one call drew: pictures, or videos with their sounds."""

    pictures: Sequence[FloatPixels]
    sounds: Sequence[Sound | None]


def generate(
    model: LoadedModel,
    request: GenerationRequest,
    control: Control,
    inputs: Inputs,
    *,
    previews: bool = True,
    batch_size: int = 1,
    auxiliaries: Auxiliaries = NO_AUXILIARIES,
    embeddings: Sequence[Embedding] = (),
) -> Generation:
    """All images or videos of `request`, up to `batch_size` per call. Raises Cancelled, as PartlyDrawn when some were
    finished, GenerationError, UnsupportedTask, UnsupportedScheduler, NotFinite; out of memory passes through.
    `auxiliaries` are the models of its control pictures and references, by id, `embeddings` those of its prompts."""
    task = task_for(model, request.task)
    with (
        conditioning_of(model, task, request, inputs, auxiliaries) as conditioning,
        scheduler_of(conditioning.pipeline, request),
        model.prompts.answering(conditioning.pipeline),
    ):
        return _generated_by(
            conditioning, model, request, control, embeddings, previews=previews, batch_size=batch_size
        )


def _generated_by(
    conditioning: Conditioning,
    model: LoadedModel,
    request: GenerationRequest,
    control: Control,
    embeddings: Sequence[Embedding],
    *,
    previews: bool,
    batch_size: int,
) -> Generation:
    pipeline, repaint = conditioning.pipeline, conditioning.repaint
    call = pipeline_arguments(pipeline, request, repaint.inputs, sequence_length(model))
    call = with_conditioning(call, conditioning.arguments, conditioning.effective)
    is_video = "num_frames" in call.effective
    previews = previews and request.task != "img2video"  # its first frame is known
    small = model.preview_vae
    previewer = Previewer(pipeline, request.width, request.height, small=small) if previews else None
    steps = request.steps_run if "strength" in call.arguments else request.num_inference_steps
    progress = ProgressHook([control], steps, request.num_images, previewer, at_once=is_video)
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
    images: list[GeneratedImage] = []
    videos: list[GeneratedVideo] = []
    caching = model.acceleration.steps
    alone = not conditioning.is_plain or caching.serves(pipeline, call.arguments)
    batch_size = 1 if alone else _batch_size(pipeline, request, batch_size)
    arguments: Mapping[str, Any] | None = None
    try:
        for index in range(0, request.num_images, batch_size):
            seeds = [request.seed + i for i in range(index, min(index + batch_size, request.num_images))]
            progress.begin(index, len(seeds))
            if arguments is None:
                with torch.inference_mode():
                    read = encoded(pipeline, request, call.arguments, model.prompts, embeddings)
                    arguments = conditioning.with_references(read)
            with caching.serving(pipeline, call.arguments, steps):
                drawn = draw(pipeline, arguments, seeds, progress)
            if is_video:
                fps = _fps(pipeline, request, call)
                videos += [_encode_video(*each, fps) for each in zip(drawn.pictures, drawn.sounds, seeds, strict=True)]
            else:
                restored = [repaint.restored(to_pixels(each)) for each in drawn.pictures]
                images += [GeneratedImage(*each) for each in zip(restored, seeds, strict=True)]
    except Cancelled:
        if not (images or videos):
            raise
        stopped = build_generation(model, pipeline, request, call, images, progress, batch_size, videos)
        raise PartlyDrawn(stopped) from None
    progress.enter(Phase.DONE)
    return build_generation(model, pipeline, request, call, images, progress, batch_size, videos)


def build_generation(
    model: LoadedModel,
    pipeline: Any,
    request: GenerationRequest,
    call: PipelineArguments,
    images: Sequence[GeneratedImage],
    progress: ProgressHook,
    batch_size: int,
    videos: Sequence[GeneratedVideo] = (),
) -> Generation:
    """The Generation of `images` or `videos`, with effective arguments, versions, timings and warnings."""
    height, width, _ = (images[0].pixels if images else videos[0].poster).shape
    return Generation(
        images=images,
        videos=videos,
        effective=dict(call.effective)
        | {"width": width, "height": height, "seed": request.seed, "num_images": request.num_images}
        | {"steps_run": progress.steps, "memory_plan": f"{model.load_plan.form}, {model.load_plan.plan}"}
        | ({"drawn_together": batch_size} if batch_size > 1 else {})
        | ({"fps": int(videos[0].fps), "num_frames": round(videos[0].seconds * videos[0].fps)} if videos else {}),
        versions=versions_of(model, pipeline),
        timings=dict(progress.seconds),
        warnings=(
            *_warnings(model, pipeline, call),
            *_size_warnings(request, width, height),
            *_length_warnings(request, call, videos),
            *vocabulary_warnings(model.pipeline, request.prompt, model.checkpoint.demo),
        ),
        vram_peak_bytes=torch.cuda.max_memory_allocated(model.device) if model.device.type == "cuda" else None,
    )


def draw(pipeline: Any, arguments: Mapping[str, Any], seeds: Sequence[int], progress: ProgressHook) -> Drawn:
    """An image or a video for each seed: the pipeline's output with `output_type="np"`. Each has its own generator, so
    that it depends on its seed only, but for rounding.

    Raises Cancelled, GenerationError when the pipeline refuses its arguments, and NotFinite.
    """
    denoiser = _denoiser(pipeline)
    watched = "callback_on_step_end" in inspect.signature(pipeline.__call__).parameters
    hook = denoiser.register_forward_pre_hook(progress.before_denoiser) if denoiser is not None else None
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    own_words = not isinstance(arguments.get("prompt", ""), str)  # one prompt per image
    many = {"num_images_per_prompt": len(seeds)} if len(seeds) > 1 and not own_words else {}
    try:
        with (
            torch.inference_mode(),
            torch.random.fork_rng(devices=[]),
            nullcontext() if watched else scheduler_steps(pipeline, progress),
        ):
            torch.manual_seed(seeds[0])  # some families encode input pictures with noise of torch's own generator
            output = pipeline(
                **arguments,
                **many,
                generator=generators if len(seeds) > 1 else generators[0],
                output_type="np",
                **({"callback_on_step_end": progress.on_step_end} if watched else {}),
            )
    except ValueError as error:
        raise GenerationError(f"The pipeline does not accept this request: {error}") from error
    except UnboundLocalError:  # Sana's pipelines log out of memory as a warning and continue without an image
        raise torch.OutOfMemoryError("out of memory while the image was decoded") from None
    except Cancelled:  # raised within a step, so that the pipeline skipped this
        pipeline.maybe_free_model_hooks()
        raise
    finally:
        if hook is not None:
            hook.remove()
        _reset_step_caches(pipeline)
    if progress.cancelled:
        raise Cancelled
    pictures = pictures_of(output)
    if not (progress.finite and all(np.isfinite(pixels).all() for pixels in pictures)):
        raise NotFinite
    return Drawn(pictures, sounds_of(pipeline, output, len(pictures)))


def _batch_size(pipeline: Any, request: GenerationRequest, requested: int) -> int:
    """How many images one call may generate. One with an input image, whose encoding all would share, and with a step
    cache, which makes one decision for all images."""
    alone = request.task != TXT2IMG or cached_parts(pipeline)
    takes = inspect.signature(pipeline.__call__).parameters
    return 1 if alone or "num_images_per_prompt" not in takes else max(1, min(requested, request.num_images))


def _encode_video(frames: FloatPixels, sound: Sound | None, seed: int, fps: int) -> GeneratedVideo:
    content = encode_mp4((to_pixels(frame) for frame in frames), fps, sound)
    return GeneratedVideo(content, to_pixels(frames[0]), seed, seconds=len(frames) / fps, fps=fps)


def _fps(pipeline: Any, request: GenerationRequest, call: PipelineArguments) -> int:
    """The requested frame rate, else that of the family."""
    rules = video_rules(type(pipeline).__name__)
    usual = rules.fps if rules is not None else round(call.effective.get("frame_rate") or USUAL_FPS)
    return request.fps or usual


def to_pixels(picture: FloatPixels) -> npt.NDArray[np.uint8]:
    """0-1 to 0-255, rounded as diffusers does it."""
    return (picture * 255).round().astype(np.uint8)


def _denoiser(pipeline: Any) -> torch.nn.Module | None:
    for name in ("transformer", "unet"):
        part = getattr(pipeline, name, None)
        if isinstance(part, torch.nn.Module):
            return part
    return None


def _reset_step_caches(pipeline: Any) -> None:
    """Reset step caches: the state of a call that ended early would corrupt the next image of the same size."""
    for part in cached_parts(pipeline):
        part._reset_stateful_cache()


def cached_parts(pipeline: Any) -> list[Any]:
    return [part for part in pipeline.components.values() if getattr(part, "is_cache_enabled", False)]


def sequence_length(model: LoadedModel) -> int | None:
    demo = model.checkpoint.demo
    return model.spec.defaults.max_sequence_length or (demo.max_sequence_length if demo else None)


def _size_warnings(request: GenerationRequest, width: int, height: int) -> tuple[str, ...]:
    """A warning when the pipeline returned another size than requested. A drawn part is back in its picture."""
    asked = (request.width or width, request.height or height)
    if asked == (width, height) or request.inpaint_area == "masked":
        return ()
    return (f"{request.model_id} drew {width} × {height}, not the requested {asked[0]} × {asked[1]}.",)


def _length_warnings(
    request: GenerationRequest, call: PipelineArguments, videos: Sequence[GeneratedVideo]
) -> tuple[str, ...]:
    """A warning when the pipeline returned another number of frames than it was asked for."""
    asked = call.arguments.get("num_frames")
    made = round(videos[0].seconds * videos[0].fps) if videos else asked
    return () if asked in (None, made) else (f"{request.model_id} made {made} frames, not the requested {asked}.",)


def _warnings(model: LoadedModel, pipeline: Any, call: PipelineArguments) -> tuple[str, ...]:
    uncached = model.acceleration.steps.problem(pipeline, call.arguments)
    return (*_negative_prompt_warnings(model, pipeline, call), *([uncached] if uncached else []))


def _negative_prompt_warnings(model: LoadedModel, pipeline: Any, call: PipelineArguments) -> tuple[str, ...]:
    if "negative_prompt" in call.arguments and getattr(pipeline, "do_classifier_free_guidance", True) is False:
        unused = f"{model.spec.id} reads a negative prompt only with a guidance_scale above 1; it was ignored."
        return (*call.warnings, unused)
    return call.warnings


def versions_of(model: LoadedModel, pipeline: Any) -> dict[str, str]:
    """Versions by name. `pipeline` is the one that ran; `revision` the hub's commit hash, or `sampled-sha256:…` over
    local weights (see `weights.fingerprint`)."""
    return {
        "diffusers": diffusers.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "pipeline": type(pipeline).__name__,
        "scheduler": type(getattr(pipeline, "scheduler", None)).__name__,
        "dtype": dtype_name(model.dtype),
        "attention": model.attention,
        "device": str(model.device),
        "revision": model.checkpoint.revision,
        **({"weights": weights} if (weights := model.load_plan.compression.description) else {}),
        **({"acceleration": accelerated} if (accelerated := model.acceleration.description) else {}),
    }
