"""Builds a pipeline's call arguments from a request, by their meaning: which argument that is in a family follows from
the signature of its call. Every setting that the pipeline cannot use becomes a warning."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from app.core.families.calls import FRAMES_ARGUMENTS, PICTURE_ARGUMENTS, PipelineCall
from app.core.families.lookup import family_of, makes_videos
from app.core.inputs import role_of
from app.core.prompts import markup_warnings
from app.core.request import GenerationRequest
from app.core.tasks import DEFAULT_STRENGTH, TEXT_TASKS
from app.core.videos import nearest_frames
from app.engines.base import Inputs
from app.engines.diffusers.generate.prompt_parts import reads_weights
from app.engines.diffusers.generate.truncation import truncation_warnings

_WORTH_KNOWING = (  # defaults written into the manifest
    *("num_inference_steps", "guidance_scale", "true_cfg_scale", "distilled_guidance_scale"),
    *("max_sequence_length", "num_frames", "frame_rate"),
)
_UNASKED = ("max_sequence_length", "frame_rate")  # our defaults, not requested
_BINNED = (16, 32, 64, 128, 256)  # sides of the latents
_EMPTY_NEGATIVE = " "  # guidance by a negative prompt needs one; the empty text is taken for none


@dataclass(frozen=True)
class PipelineArguments:
    """`arguments` for the pipeline (all but seed, output type and callback), `effective` with the pipeline's defaults
    filled in, and `warnings` about settings that it cannot use."""

    arguments: Mapping[str, Any]
    effective: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


def call_of(pipeline: Any) -> PipelineCall:
    """How `pipeline` is called, read from the class itself."""
    parameters = inspect.signature(pipeline.__call__).parameters
    plain = {name: each.default for name, each in parameters.items() if each.kind is not each.VAR_KEYWORD}
    required = frozenset(name for name, default in plain.items() if default is inspect.Parameter.empty)
    return PipelineCall({name: None if name in required else value for name, value in plain.items()}, required)


def pipeline_arguments(
    pipeline: Any, request: GenerationRequest, inputs: Inputs, max_sequence_length: int | None
) -> PipelineArguments:
    """The arguments of `pipeline` for `request`. A setting that is None is left to the pipeline's default."""
    call, warnings = call_of(pipeline), list[str]()
    frames = next((name for name in FRAMES_ARGUMENTS if name in call.takes), "num_frames")
    settings = {
        "num_inference_steps": request.num_inference_steps,
        "width": request.width,
        "height": request.height,
        "strength": request.strength,
        frames: _frames(pipeline, request, warnings),
        "frame_rate": request.fps,
        "guidance_scale_2": request.guidance_scale_2,
        "clip_skip": request.clip_skip or None,
        "prompt_2": request.prompt_2,
        "max_sequence_length": max_sequence_length,
    }
    arguments: dict[str, Any] = {"prompt": _prompt(call, request.prompt, inputs)}
    for name, value in (settings | _guidance(call, request)).items():
        if value is None:
            continue
        if name in call.takes:
            arguments[name] = value
        elif not _is_ours(name, value, request):
            warnings.append(f"{request.model_id} takes no {name}; it was not used.")
    if "max_area" in call.takes and request.width and request.height:
        arguments["max_area"] = request.width * request.height  # Kontext would scale the size to its own area
        if "_auto_resize" in call.takes and "mask_image" in call.takes:
            arguments["_auto_resize"] = False  # and use the scaled image's size for the masked area
    if "use_resolution_binning" in call.takes and not has_bins(pipeline, call):
        arguments["use_resolution_binning"] = False
    arguments |= _negative_prompt(call, request, arguments, warnings)
    defaults = {name: call.takes[name] for name in _WORTH_KNOWING if name in call.takes}
    effective = {"num_inference_steps": request.num_inference_steps} | defaults | arguments
    if frames in effective:
        effective["num_frames"] = effective.pop(frames)
    if request.prompt_weighting == "off" or not reads_weights(pipeline):
        warnings += truncation_warnings(pipeline, request.prompt, effective.get("max_sequence_length"))
    if request.prompt_weighting == "auto" and not reads_weights(pipeline):  # it was not known before it was loaded
        warnings += [f"{request.model_id} reads no embeddings: {name} is text for it." for name in request.embeddings]
        warnings += markup_warnings(request.prompt, "prompt")
        warnings += markup_warnings(request.negative_prompt or "", "negative_prompt")
    return PipelineArguments(arguments | _pictures(call, pipeline, inputs), effective, tuple(warnings))


def with_conditioning(
    call: PipelineArguments, arguments: Mapping[str, Any], effective: Mapping[str, Any]
) -> PipelineArguments:
    """`call` with the arguments of control pictures and references, and what the manifest says of them."""
    if not effective:
        return call
    return replace(call, arguments={**call.arguments, **arguments}, effective={**call.effective, **effective})


def _prompt(call: PipelineCall, prompt: str, inputs: Inputs) -> str:
    """OmniGen's prompt names each picture; one that names none is about all."""
    if "input_images" not in call.takes or not inputs or "<img>" in prompt:
        return prompt
    return "".join(f"<img><|image_{number}|></img> " for number in range(1, len(inputs) + 1)) + prompt


def guides_by_negative_prompt(call: PipelineCall) -> bool:
    """Whether a family's guidance is `true_cfg_scale`. FLUX has it too, switched off: its guidance is distilled."""
    default = call.takes.get("true_cfg_scale")
    return "true_cfg_scale" in call.takes and ("guidance_scale" not in call.takes or (default or 0) > 1)


def _guidance(call: PipelineCall, request: GenerationRequest) -> dict[str, Any]:
    """The request's guidance by the names that the family has for it."""
    if guides_by_negative_prompt(call):
        asked = request.true_cfg_scale if request.true_cfg_scale is not None else request.guidance_scale
        return {"true_cfg_scale": asked}
    name = "guidance_scale"
    if name not in call.takes and "distilled_guidance_scale" in call.takes:
        name = "distilled_guidance_scale"
    return {name: request.guidance_scale, "true_cfg_scale": request.true_cfg_scale}


def _negative_prompt(
    call: PipelineCall, request: GenerationRequest, arguments: Mapping[str, Any], warnings: list[str]
) -> dict[str, str]:
    """The negative prompt where it has an effect; an empty one where the guidance needs it."""
    if "negative_prompt" not in call.takes:
        if request.negative_prompt:
            warnings.append(f"{request.model_id} has no negative prompt; it was ignored.")
        return {}
    scale = arguments.get("true_cfg_scale", call.takes.get("true_cfg_scale"))
    if "true_cfg_scale" in call.takes and (scale or 0) <= 1:
        if request.negative_prompt:
            advice = "send a true_cfg_scale above 1 to have it read"
            warnings.append(f"{request.model_id} reads no negative prompt; it was ignored: {advice}.")
        return {}
    if request.negative_prompt:
        return {"negative_prompt": request.negative_prompt}
    return {"negative_prompt": _EMPTY_NEGATIVE} if "true_cfg_scale" in call.takes else {}


def has_bins(pipeline: Any, call: PipelineCall) -> bool:
    """Whether the pipeline may draw the nearest size that it was trained for, and scale that. PixArt and Sana have such
    sizes for some weights only; those of Sana's videos are refused by its own check."""
    config = getattr(getattr(pipeline, "transformer", None), "config", {})
    return not makes_videos(call) and config.get("sample_size") in _BINNED


def _is_ours(name: str, value: Any, request: GenerationRequest) -> bool:
    """Whether a setting was not asked for, so that it needs no warning."""
    if request.task not in TEXT_TASKS and name in ("width", "height"):
        return True  # given by the input image
    return name in _UNASKED or (name == "strength" and value == DEFAULT_STRENGTH.get(request.task))


def _frames(pipeline: Any, request: GenerationRequest, warnings: list[str]) -> int | None:
    """The number of frames rounded to what the family supports. Checked here because the family may have been unknown
    at submission, before the model was downloaded."""
    family = family_of(type(pipeline).__name__)
    rules = None if family is None else family.video
    if request.num_frames is None or rules is None:
        return request.num_frames
    fitting = nearest_frames(request.num_frames, rules.frame_step)
    if fitting != request.num_frames:
        rule = f"makes one frame more than a multiple of {rules.frame_step}"
        warnings.append(f"{request.model_id} {rule}: {request.num_frames} became {fitting}.")
    return fitting


def _pictures(call: PipelineCall, pipeline: Any, inputs: Inputs) -> dict[str, Any]:
    """The input images as PIL, which every diffusers pipeline accepts; a list for families that take several."""
    found: dict[str, Any] = {}
    images: Sequence[Image.Image] = [Image.fromarray(each) for slot, each in inputs.items() if role_of(slot) != "mask"]
    if images:
        family = family_of(type(pipeline).__name__)
        name = next((name for name in PICTURE_ARGUMENTS if name in call.takes), "image")
        several = len(images) > 1 or name != "image"
        several = several or ("mask" not in inputs and family is not None and family.most_pictures > 1)
        found[name] = list(images) if several else images[0]
    if "mask" in inputs:
        found["mask_image"] = Image.fromarray(inputs["mask"])
    return found
