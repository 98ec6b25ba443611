"""The pipeline that does a task with a loaded model: its own, or a sibling over the very same weights.

A sibling holds references and no memory of its own. It is made when first asked for and goes with its model.
"""

from __future__ import annotations

import inspect
from typing import Any

import diffusers
from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting

from app.core.tasks import TXT2IMG, VIDEO_TASKS, Task, needs, tasks_of, tasks_of_call
from app.engines.diffusers.memory.loaded import LoadedModel
from app.errors import UnsupportedTask

_AUTO = {"img2img": AutoPipelineForImage2Image, "inpaint": AutoPipelineForInpainting}
BEYOND_AUTO: dict[tuple[str, Task], str] = {  # siblings that diffusers has and its tables do not know
    ("SanaSprintPipeline", "img2img"): "SanaSprintImg2ImgPipeline",
    ("FluxKontextPipeline", "inpaint"): "FluxKontextInpaintPipeline",
}
_VIDEOS: dict[str, tuple[str, str]] = {  # by family, what makes a video of words and what begins with a picture
    "LTXPipeline": ("LTXPipeline", "LTXImageToVideoPipeline"),
    "LTXImageToVideoPipeline": ("LTXPipeline", "LTXImageToVideoPipeline"),
    "LTXConditionPipeline": ("LTXConditionPipeline", "LTXConditionPipeline"),
    "WanPipeline": ("WanPipeline", "WanImageToVideoPipeline"),
    "WanImageToVideoPipeline": ("WanPipeline", "WanImageToVideoPipeline"),
}


def pipeline_for(model: LoadedModel, task: Task) -> Any:
    """Raises UnsupportedTask when diffusers has no such pipeline for this family."""
    _check_media(model, task)
    if task not in VIDEO_TASKS and task in (own := own_tasks(model.pipeline)):
        return model.pipeline
    if task not in VIDEO_TASKS and TXT2IMG not in own:
        raise _unsupported(model, task, needs(own))
    if task not in model.siblings:
        model.siblings[task] = (_make_for_video if task in VIDEO_TASKS else _make)(model, task)
    return model.siblings[task]


def own_tasks(pipeline: Any) -> tuple[Task, ...]:
    """What the class of `pipeline` does itself: by its call, as far as nothing else is known of it."""
    by_call = tasks_of_call(inspect.signature(pipeline.__call__).parameters)
    stated = tasks_of(type(pipeline).__name__)
    return tuple(task for task in by_call if stated is None or task in stated)


def _check_media(model: LoadedModel, task: Task) -> None:
    """Of a model that was not here when it was asked for, only now it is known what it makes."""
    makes_videos = "num_frames" in inspect.signature(model.pipeline.__call__).parameters
    if makes_videos and task not in VIDEO_TASKS:
        raise UnsupportedTask(f'{model.spec.id} makes videos: write "media": "video" into its MODEL_ line\'s options.')
    if not makes_videos and task in VIDEO_TASKS:
        raise UnsupportedTask(f'{model.spec.id} makes pictures: take "media" out of its MODEL_ line\'s options.')


def _make_for_video(model: LoadedModel, task: Task) -> Any:
    """Not by `from_pipe`, which brings the parts to float32."""
    pipeline, name = model.pipeline, type(model.pipeline).__name__
    own = _VIDEOS.get(name, (name, ""))  # of a family unknown here, words are tried
    wanted = own[VIDEO_TASKS.index(task)]
    if wanted == name:
        return pipeline
    if not wanted or (name.startswith("Wan") and not pipeline.config.expand_timesteps):  # its weights do one of the two
        raise _unsupported(model, task, "send no image" if task == "img2video" else "send an image")
    kind = getattr(diffusers, wanted)
    takes = inspect.signature(kind.__init__).parameters
    known = {**pipeline.config, **pipeline.components}
    sibling = kind(**{part: value for part, value in known.items() if part in takes})
    sibling.set_progress_bar_config(disable=True)
    return sibling


def _make(model: LoadedModel, task: Task) -> Any:
    name = type(model.pipeline).__name__
    try:
        if (name, task) in BEYOND_AUTO:
            sibling = getattr(diffusers, BEYOND_AUTO[name, task])(**model.pipeline.components)
        else:
            sibling = _AUTO[task].from_pipe(model.pipeline)
    except ValueError:  # it cannot find a linked pipeline
        raise _unsupported(model, task, "send no image") from None
    sibling.set_progress_bar_config(disable=True)
    return sibling


def _unsupported(model: LoadedModel, task: Task, instead: str) -> UnsupportedTask:
    name = type(model.pipeline).__name__
    advice = instead if instead.startswith("choose") else f"choose another model, or {instead}"
    return UnsupportedTask(f"{model.spec.id} ({name}) cannot do {task}: {advice}.")
