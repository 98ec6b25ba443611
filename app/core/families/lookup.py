"""What a pipeline class can do: its family's record, and for the rest the signature of its call.

Both the API, before a model is loaded, and the engine, with the class in hand, ask here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from app.core.families.calls import (
    FRAMES_ARGUMENTS,
    NOT_SENT_ARGUMENTS,
    PICTURE_ARGUMENTS,
    SENT_ARGUMENTS,
    PipelineCall,
    call_of,
)
from app.core.families.family import Family, VideoRules
from app.core.families.image_families import IMAGE_FAMILIES
from app.core.families.video_families import VIDEO_FAMILIES
from app.core.tasks import TASKS, Task

FAMILIES = (*IMAGE_FAMILIES, *VIDEO_FAMILIES)
USUAL_FPS = 16  # for families without a record
_NO_CONFIG: Mapping[str, Any] = {}

# These need inputs that requests do not have, or make something else than pictures and videos.
_UNUSABLE = re.compile(
    r"Control|Adapter|Prior|Decoder|SuperResolution|LatentUp|DiffEdit|Variation|Marigold|VisualCloze|PaintByExample"
    r"|Layered|Redux|Audio|VideoTo(?!World)|Video2Video|Layout|UniDiffuser|DiffusionGemma|LLaDA|HDR|InContext"
)
_FROM_A_PICTURE = re.compile(r"Edit(?!ing)|InstructPix2Pix|I2I|Img2Img|Upscale|Refiner")
_VIDEO_FROM_A_PICTURE = re.compile(r"ImageToVideo|Image2Video|(?<!T)I2V|VideoToWorld|Framepack")


@cache
def family_of(pipeline_class: str) -> Family | None:
    """The record of a pipeline class; None for a family that has none."""
    return next((family for family in FAMILIES if family.has(pipeline_class)), None)


def caches_of(pipeline_class: str) -> tuple[str, ...]:
    """The kinds of step caches that a pipeline class can use."""
    family = family_of(pipeline_class)
    return () if family is None else family.step_caches.get(pipeline_class, ())


def tasks_of(pipeline_class: str, config: Mapping[str, Any] = _NO_CONFIG) -> tuple[Task, ...] | None:
    """The tasks of the weights of a pipeline, by itself or by a sibling class; None if the class is unknown, and `()`
    if it needs inputs that requests do not have. `config`: the content of model_index.json."""
    call = call_of(pipeline_class)
    if call is None:
        return None
    own = own_tasks(pipeline_class, call)
    return tuple(task for task in TASKS if task in {*own, *siblings(pipeline_class, call, config)})


def own_tasks(pipeline_class: str, call: PipelineCall) -> tuple[Task, ...]:
    """The tasks that the class itself runs."""
    family = family_of(pipeline_class)
    if family is not None and family.tasks is not None:
        return family.tasks
    if _UNUSABLE.search(pipeline_class):
        return ()
    return tasks_of_call(call, pipeline_class)


def siblings(pipeline_class: str, call: PipelineCall, config: Mapping[str, Any] = _NO_CONFIG) -> dict[Task, str]:
    """Other classes over the same weights, by the task that they run."""
    own = own_tasks(pipeline_class, call)
    family = family_of(pipeline_class)
    known: dict[Any, str] = {**call.siblings, **(family.siblings if family is not None else {})}
    if not {"txt2img", "edit", "txt2video", "img2video"} & set(own):
        return {}  # its weights are for that task: an inpainting model, a refiner
    if family is not None and family.sibling_flag and not config.get(family.sibling_flag):
        return {}
    return {task: name for task, name in known.items() if task not in own}


def tasks_of_call(call: PipelineCall, name: str = "") -> tuple[Task, ...]:
    """The tasks of a pipeline whose call has these arguments; its `name` tells an edit from an image that may be left
    out, which both have the default None."""
    takes = call.takes
    if "prompt" not in takes or call.requires - SENT_ARGUMENTS or not NOT_SENT_ARGUMENTS.isdisjoint(takes):
        return ()
    picture = any(argument in takes for argument in PICTURE_ARGUMENTS)
    if any(argument in takes for argument in FRAMES_ARGUMENTS):
        return _video_tasks(call, name, picture)
    if "mask_image" in takes:
        return ("inpaint",) if picture else ()
    if not picture:
        return ("txt2img",) if "height" in takes else ()
    if "strength" in takes:
        return ("img2img",)
    if call.requires & set(PICTURE_ARGUMENTS) or _FROM_A_PICTURE.search(name):
        return ("edit",)
    return ("txt2img", "edit")


def _video_tasks(call: PipelineCall, name: str, picture: bool) -> tuple[Task, ...]:
    if "mask_image" in call.takes or "Inpaint" in name:
        return ()
    if not picture:
        return ("txt2video",)
    if "image" in call.requires or _VIDEO_FROM_A_PICTURE.search(name):
        return ("img2video",)
    return ("txt2video", "img2video")


def needs(tasks: Collection[Task]) -> str:
    """The inputs for a model that supports `tasks`, as a sentence."""
    if "txt2img" in tasks:
        return "send no image"
    if "edit" in tasks:
        return "send an image, and say in the prompt what to change"
    if "img2img" in tasks:
        return "send an image"
    if "inpaint" in tasks:
        return "send an image and a mask"
    return "choose another model: it needs inputs that requests do not have, such as a control picture"


def makes_videos(call: PipelineCall) -> bool:
    return any(argument in call.takes for argument in FRAMES_ARGUMENTS)


def video_rules(pipeline_class: str) -> VideoRules | None:
    """The rules of a class that makes videos: its family's, else the defaults of its call; None for an unknown class
    or one without such defaults."""
    family = family_of(pipeline_class)
    if family is not None and family.video is not None:
        return family.video
    call = call_of(pipeline_class)
    if call is None:
        return None
    frames = next((call.takes[name] for name in FRAMES_ARGUMENTS if call.takes.get(name)), None)
    width, height = call.takes.get("width"), call.takes.get("height")
    if not (frames and width and height):
        return None
    fps = round(call.takes.get("frame_rate") or USUAL_FPS)
    return VideoRules(frame_step=1, multiple_of=16, width=width, height=height, num_frames=frames, fps=fps)


def most_pictures(pipeline_class: str) -> int:
    """How many input pictures an edit takes at most."""
    family = family_of(pipeline_class)
    return 1 if family is None else family.most_pictures
