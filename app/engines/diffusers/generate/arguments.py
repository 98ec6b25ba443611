"""Builds a pipeline's call arguments from a request. Every setting that the pipeline cannot use becomes a warning."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image
from transformers import PreTrainedTokenizerBase

from app.core.request import GenerationRequest
from app.core.tasks import DEFAULT_STRENGTH, TEXT_TASKS
from app.core.videos import VIDEO_FAMILIES, nearest_frames
from app.engines.base import Inputs

_WORTH_KNOWING = (  # defaults written into the manifest
    *("num_inference_steps", "guidance_scale", "max_sequence_length"),
    *("num_frames", "frame_rate"),
)


@dataclass(frozen=True)
class PipelineArguments:
    """`arguments` for the pipeline (all but seed, output type and callback), `effective` with the pipeline's defaults
    filled in, and `warnings` about settings that it cannot use."""

    arguments: Mapping[str, Any]
    effective: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


def pipeline_arguments(
    pipeline: Any, request: GenerationRequest, inputs: Inputs, max_sequence_length: int | None
) -> PipelineArguments:
    """The arguments of `pipeline` for `request`. A setting that is None is left to the pipeline's default."""
    takes = inspect.signature(pipeline.__call__).parameters
    warnings: list[str] = []
    arguments: dict[str, Any] = {"prompt": request.prompt, "num_inference_steps": request.num_inference_steps}
    settings = {
        "width": request.width,
        "height": request.height,
        "guidance_scale": request.guidance_scale,
        "strength": request.strength,
        "num_frames": _frames(pipeline, request, warnings),
        "frame_rate": request.fps,
        "max_sequence_length": max_sequence_length,
    }
    for name, value in settings.items():
        if value is None:
            continue
        if name in takes:
            arguments[name] = value
        elif request.task not in TEXT_TASKS and name in ("width", "height"):
            continue  # given by the input image
        elif name == "strength" and value == DEFAULT_STRENGTH.get(request.task):
            continue  # a default, not requested
        elif name not in ("max_sequence_length", "frame_rate"):  # our defaults, not requested
            warnings.append(f"{request.model_id} takes no {name}; it was not used.")
    if "max_area" in takes and request.width and request.height:
        arguments["max_area"] = request.width * request.height  # Kontext would scale the size to its own area
        if "mask_image" in takes and "_auto_resize" in takes:
            arguments["_auto_resize"] = False  # and use the scaled image's size for the masked area
    if request.negative_prompt:
        if _uses_negative_prompt(takes):
            arguments["negative_prompt"] = request.negative_prompt
        else:
            warnings.append(f"{request.model_id} has no negative prompt; it was ignored.")
    defaults = {name: takes[name].default for name in _WORTH_KNOWING if name in takes}
    effective = defaults | arguments
    warnings += _truncation(pipeline, request.prompt, effective.get("max_sequence_length"))
    return PipelineArguments(arguments | _pictures(inputs), effective, tuple(warnings))


def _frames(pipeline: Any, request: GenerationRequest, warnings: list[str]) -> int | None:
    """The number of frames rounded to what the family supports. Checked here because the family may have been unknown
    at submission, before the model was downloaded."""
    family = VIDEO_FAMILIES.get(type(pipeline).__name__)
    if request.num_frames is None or family is None:
        return request.num_frames
    fitting = nearest_frames(request.num_frames, family.frame_step)
    if fitting != request.num_frames:
        rule = f"makes one frame more than a multiple of {family.frame_step}"
        warnings.append(f"{request.model_id} {rule}: {request.num_frames} became {fitting}.")
    return fitting


def _pictures(inputs: Inputs) -> dict[str, Any]:
    """The input images as PIL, which every diffusers pipeline accepts."""
    names = {"image": "image", "mask": "mask_image"}
    return {names[role]: Image.fromarray(pixels) for role, pixels in inputs.items()}


def _uses_negative_prompt(takes: Mapping[str, inspect.Parameter]) -> bool:
    """FLUX accepts one but ignores it unless true_cfg_scale is above 1."""
    true_guidance = takes.get("true_cfg_scale")
    return "negative_prompt" in takes and (true_guidance is None or true_guidance.default > 1)


def _truncation(pipeline: Any, prompt: str, max_sequence_length: int | None) -> list[str]:
    """A warning when the prompt is too long for every text encoder."""
    shortfalls: list[tuple[int, int]] = []
    for name in ("tokenizer", "tokenizer_2", "tokenizer_3"):
        tokenizer = getattr(pipeline, name, None)
        if not isinstance(tokenizer, PreTrainedTokenizerBase):  # some families have an image processor there
            continue
        is_clip = "CLIP" in type(tokenizer).__name__
        reach = tokenizer.model_max_length if is_clip or max_sequence_length is None else max_sequence_length
        tokens = len(tokenizer(prompt, truncation=False, verbose=False).input_ids)
        shortfalls.append((tokens - int(reach), int(reach)))
    if not shortfalls or min(shortfalls)[0] <= 0:
        return []
    missing, reach = min(shortfalls)
    return [f"The prompt is {missing + reach} tokens long; only the first {reach} were read."]
