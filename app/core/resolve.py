"""Validates a client's request against its model, and fills the gaps."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from app.core.catalog import (
    MOST_FRAMES,
    STEPS_MAX,
    STEPS_MIN,
    Defaults,
    ModelSpec,
)
from app.core.control_inputs import control_problems, is_adapted
from app.core.field_aliases import rename_warnings
from app.core.generation_settings import MOST_LORAS, RANDOM_SEED, SEED_MAX, GenerationSettings, LoraChoice
from app.core.inputs import MOST_INPUTS
from app.core.prompt_reading import read_prompts
from app.core.prompts import check_prompt
from app.core.repaint import EXTENDED_STRENGTH, choose_repaint
from app.core.request import GenerationInput, GenerationRequest, RemoteCall
from app.core.schedulers.choice import FIELDS as SCHEDULER_FIELDS
from app.core.schedulers.choice import choose
from app.core.tasks import (
    DEFAULT_STRENGTH,
    TEXT_TASKS,
    TXT2IMG,
    Task,
    as_video,
    steps_run,
    task_from_a_picture,
)
from app.core.upscaling import choose_second_pass
from app.core.videos import nearest_frames
from app.errors import FieldError, InvalidRequest

DRAWN_SEED_MAX = SEED_MAX - 64  # of random seeds: leaves room so that the seeds of all pictures, seed + i, fit 32 bits


_EDIT_WHY = "and in an edit the prompt says it"


@dataclass(frozen=True)
class Resolved:
    """A request that can be enqueued, and warnings for the client."""

    request: GenerationRequest
    warnings: tuple[str, ...] = ()


def resolve(asked: GenerationInput, spec: ModelSpec, *, prompt_max_chars: int, drawn_seed: int) -> Resolved:
    """Validate `asked` against the rules of `spec` and fill the gaps. `drawn_seed`, at most DRAWN_SEED_MAX, is used
    when a random seed is asked for.

    Raises InvalidRequest (or PromptTooLong) listing all invalid fields. What a model cannot use is reported as a
    warning.
    """
    warnings = rename_warnings((*asked.renamed, *asked.settings.renamed))
    problems: list[FieldError] = []
    prompt = check_prompt(asked.prompt, "prompt", prompt_max_chars)
    negative = check_prompt(asked.negative_prompt or "", "negative_prompt", prompt_max_chars, required=False) or None
    if negative and not spec.options.negative_prompt:
        warnings.append(f"{spec.id} has no negative prompt; it was ignored.")
        negative = None

    wanted, limits = asked.settings, spec.limits
    read = read_prompts(prompt, negative, wanted, spec, prompt_max_chars, warnings, problems)
    task = _task_of(asked, spec, problems)
    # With an image, the size is derived from it once it is decoded: see app.core.sizes.
    own = spec.defaults if task in TEXT_TASKS and not asked.controls else Defaults()
    width = wanted.width if wanted.width is not None else own.width
    height = wanted.height if wanted.height is not None else own.height
    problems += _check_size("width", wanted.width, limits.min_width, limits.max_width, limits.multiple_of)
    problems += _check_size("height", wanted.height, limits.min_height, limits.max_height, limits.multiple_of)
    problems += _check_pixels(width, height, limits.max_pixels)
    one_side = (wanted.width is None) != (wanted.height is None) and (width is None or height is None)
    if task in TEXT_TASKS and one_side and not asked.controls:
        problems.append(FieldError("settings", f"set width and height together: {spec.id} has no default size"))
    steps = _resolve_steps(wanted.num_inference_steps, spec, warnings, problems)
    extended = any(picture.extend is not None for picture in asked.pictures)
    asked_strength = EXTENDED_STRENGTH if extended and wanted.strength is None else wanted.strength
    strength = _resolve_strength(asked_strength, task, steps, warnings, problems)
    repaint = choose_repaint(
        wanted,
        masked=task == "inpaint" and not extended,
        local=spec.lane == "local",
        strength=strength,
        warnings=warnings,
        problems=problems,
    )
    num_frames, fps = _resolve_length(wanted, spec, warnings, problems)
    upscale = choose_second_pass(wanted.upscale, spec, task=task, size=(width, height), steps=steps, problems=problems)
    scheduler = choose(
        wanted,
        spec.defaults,
        fitting=spec.options.schedulers if spec.lane == "local" else (),
        prediction=spec.options.prediction,
        model_id=spec.id,
        problems=problems,
    )
    loras = (*wanted.loras, *(LoraChoice(id=tag.name, scale=tag.scale) for tag in read.loras))
    if len(loras) > MOST_LORAS:
        problems.append(FieldError("settings.loras", f"may be {MOST_LORAS} with those in the prompt"))
    if len({lora.id for lora in loras}) < len(loras):
        problems.append(FieldError("settings.loras", "has a LoRA twice; list it once, with the intended scale"))
    guidance = wanted.guidance_scale if wanted.guidance_scale is not None else spec.defaults.guidance_scale
    if wanted.guidance_scale is not None and not (
        limits.min_guidance_scale <= wanted.guidance_scale <= limits.max_guidance_scale
    ):
        span = f"{limits.min_guidance_scale:g} to {limits.max_guidance_scale:g}"
        problems.append(FieldError("settings.guidance_scale", f"must be {span} for {spec.id}"))
    if wanted.num_images > limits.max_images:
        problems.append(FieldError("settings.num_images", f"must be at most {limits.max_images} for {spec.id}"))
    if wanted.seed is not None and wanted.seed + wanted.num_images - 1 > SEED_MAX:
        problems.append(FieldError("settings.seed", f"seed + num_images - 1 must not exceed {SEED_MAX}"))
    if problems:
        raise InvalidRequest("; ".join(f"{p.field}: {p.message}" for p in problems), errors=problems)
    request = GenerationRequest(
        model_id=spec.id,
        prompt=read.prompt,
        negative_prompt=negative,
        num_inference_steps=steps,
        guidance_scale=guidance,
        true_cfg_scale=wanted.true_cfg_scale,
        guidance_scale_2=wanted.guidance_scale_2,
        width=width,
        height=height,
        seed=drawn_seed if wanted.seed is None or wanted.seed == RANDOM_SEED else wanted.seed,
        num_images=wanted.num_images,
        task=task,
        strength=strength,
        num_frames=num_frames,
        fps=fps,
        loras=loras,
        clip_skip=wanted.clip_skip,
        prompt_2=read.prompt_2,
        prompt_weighting=read.weighting,
        **{name: getattr(scheduler, name) for name in SCHEDULER_FIELDS},
        **repaint,
        upscale=upscale,
        remote=_remote_call(wanted, spec) if spec.lane == "remote" else None,
    )
    return Resolved(request, tuple(warnings))


def _remote_call(wanted: GenerationSettings, spec: ModelSpec) -> RemoteCall:
    chosen = {name for name, value in wanted if value is not None and name in wanted.model_fields_set}
    chosen |= {name for name, value in spec.defaults if value is not None}
    if spec.steps.declared:
        chosen.add("num_inference_steps")
    if wanted.seed == RANDOM_SEED:
        chosen.discard("seed")
    if {"width", "height"} & chosen:
        chosen |= {"width", "height"}
    return RemoteCall(
        source=spec.source,
        model=spec.repo,
        media=spec.media,
        version=spec.options.revision,
        chosen=tuple(sorted(chosen)),
    )


def _check_size(name: str, value: int | None, low: int, high: int, multiple: int) -> list[FieldError]:
    if value is None or (low <= value <= high and value % multiple == 0):
        return []
    return [FieldError(f"settings.{name}", f"must be {low} to {high} and a multiple of {multiple}, not {value}")]


def _check_pixels(width: int | None, height: int | None, most: int | None) -> list[FieldError]:
    pixels = (width or 0) * (height or 0)
    if most is None or pixels <= most:
        return []
    return [FieldError("settings", f"{width} x {height} is {pixels:,} pixels; at most {most:,} are allowed")]


def _resolve_steps(asked: int | None, spec: ModelSpec, warnings: list[str], problems: list[FieldError]) -> int:
    rule = spec.steps
    if rule.fixed is not None:
        if asked is not None and asked != rule.fixed:
            warnings.append(f"{spec.id} always uses {rule.fixed} steps; num_inference_steps={asked} was not used.")
        return rule.fixed
    if asked is None:
        return rule.default
    high = max(STEPS_MAX, rule.max)
    high = min(high, spec.limits.max_steps or high)
    if not STEPS_MIN <= asked <= high:
        message = f"must be {STEPS_MIN} to {high} for {spec.id}, not {asked}"
        problems.append(FieldError("settings.num_inference_steps", message))
    elif rule.declared and not rule.min <= asked <= rule.max:
        warnings.append(f"{spec.id} is made for {rule.min} to {rule.max} steps; it runs {asked}, as requested.")
    return asked


def _resolve_length(
    wanted: GenerationSettings, spec: ModelSpec, warnings: list[str], problems: list[FieldError]
) -> tuple[int | None, int | None]:
    """Number of frames and frames per second; None for pictures, and where the pipeline decides."""
    if spec.media != "video":
        given = [name for name in ("num_frames", "fps") if getattr(wanted, name) is not None]
        warnings += [f"{spec.id} makes pictures; {name} was not used." for name in given]
        return None, None
    limits, frames, fps = spec.limits, wanted.num_frames, wanted.fps
    most = nearest_frames(limits.max_frames or MOST_FRAMES, limits.frame_step)
    if frames is not None and (frames > most or nearest_frames(frames, limits.frame_step) != frames):
        rule = f" and one more than a multiple of {limits.frame_step}" if limits.frame_step > 1 else ""
        near = min(nearest_frames(frames, limits.frame_step), most)
        problems.append(FieldError("settings.num_frames", f"must be 1 to {most}{rule}, such as {near}, not {frames}"))
    if fps is not None and fps > (limits.max_fps or fps):
        problems.append(FieldError("settings.fps", f"must be 1 to {limits.max_fps}, not {fps}"))
    return frames or spec.defaults.num_frames, fps or spec.defaults.fps


def _task_of(asked: GenerationInput, spec: ModelSpec, problems: list[FieldError]) -> Task:
    roles = [picture.role for picture in asked.pictures if not is_adapted(picture, spec.options.tasks)]
    images, masks, references = (roles.count(role) for role in ("image", "mask", "reference"))
    problems += control_problems(asked.controls, media=spec.media, lane=spec.lane, model_id=spec.id)
    if masks and not images:
        problems.append(FieldError("mask", "needs an image; the mask marks the part to repaint"))
    if masks > 1:
        problems.append(FieldError("inputs", "may hold one mask"))
    if any(picture.extend is not None for picture in asked.pictures):
        return _extension(asked, spec, problems)
    if spec.media == "video" and masks:
        problems.append(FieldError("mask", "cannot be used: videos cannot be repainted in part"))
    elif spec.media != "video" and images and masks:
        if images + references > 1:
            problems.append(FieldError("inputs", "may hold one image beside a mask"))
        return "inpaint"
    if not images + references:
        return as_video(TXT2IMG) if spec.media == "video" else TXT2IMG
    task = task_from_a_picture(spec.options.tasks, strength=asked.settings.strength is not None)
    problems += _check_pictures(spec, task, images + references, references)
    return as_video(task) if spec.media == "video" else task


def _extension(asked: GenerationInput, spec: ModelSpec, problems: list[FieldError]) -> Task:
    """The task of a request with a picture that is extended."""
    if len(asked.pictures) > 1:
        problems.append(FieldError("inputs", "may hold nothing else beside a picture to extend; its mask is made"))
    if spec.media == "video" or spec.lane == "remote":
        problems.append(FieldError("inputs", f"may hold no picture to extend: {spec.id} cannot repaint in part here"))
    if asked.settings.width is not None or asked.settings.height is not None:
        problems.append(FieldError("settings", "may hold no width or height: the picture and extend give the size"))
    return "inpaint"


def _check_pictures(spec: ModelSpec, task: Task, pictures: int, references: int) -> list[FieldError]:
    """Only an edit takes several pictures. The number is not checked for a model that is not on this machine."""
    known = spec.options.tasks is not None or spec.lane == "remote"
    if references and known and task != "edit":  # of videos, and at providers
        return [FieldError("inputs", f"may hold no reference: {spec.id} edits no pictures")]
    most = spec.limits.max_input_images or (1 if known or spec.media == "video" else MOST_INPUTS)
    if pictures <= most:
        return []
    return [FieldError("inputs", f"may hold {most} for {spec.id}, not {pictures}")]


def _resolve_strength(
    asked: float | None, task: Task, steps: int, warnings: list[str], problems: list[FieldError]
) -> float | None:
    if task not in DEFAULT_STRENGTH:
        if asked is not None:
            why = "and a video keeps its start image unchanged"
            why = "and there is none" if task in TEXT_TASKS else _EDIT_WHY if task == "edit" else why
            warnings.append(f"strength was not used: it says how much to change an image, {why}.")
        return None
    strength = DEFAULT_STRENGTH[task] if asked is None else asked
    if steps > 0 and steps_run(steps, strength) < 1:  # otherwise the steps themselves are the problem
        least = ceil(1000 / steps) / 1000
        problems.append(
            FieldError(
                "settings.strength",
                f"{strength:g} of {steps} steps leaves none to run, so nothing would change; use {least:g} or more",
            )
        )
    return strength
