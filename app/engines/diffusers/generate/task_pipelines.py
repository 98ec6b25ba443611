"""Pipelines by task: a loaded model's own, or another class over the same weights.

Such a pipeline holds references and no memory of its own. It is made on first use and freed with its model.
"""

from __future__ import annotations

import inspect
from typing import Any

import diffusers

from app.core.families import calls, lookup
from app.core.families.calls import PipelineCall
from app.core.tasks import VIDEO_TASKS, Task
from app.engines.diffusers.generate.arguments import call_of
from app.engines.diffusers.memory.loaded import LoadedModel
from app.errors import UnsupportedTask


def task_for(model: LoadedModel, task: Task) -> Task:
    """`task`, or what the model does instead with the same inputs: at submission its family may have been unknown."""
    if task != "img2img":
        return task
    possible = _possible(model)
    return "edit" if "edit" in possible and "img2img" not in possible else task


def pipeline_for(model: LoadedModel, task: Task) -> Any:
    """The pipeline that runs `task` with `model`. Raises UnsupportedTask when diffusers has none for this family."""
    call = call_of(model.pipeline)
    _check_media(model, call, task)
    name = type(model.pipeline).__name__
    own = lookup.own_tasks(name, call)
    if task in own:
        return model.pipeline
    siblings = _siblings(model, call)
    if task not in siblings:
        raise _unsupported(model, task, lookup.needs({*own, *siblings}), sorted({*own, *siblings}))
    if task not in model.task_pipelines:
        model.task_pipelines[task] = pipeline_over(model.pipeline, siblings[task])
    return model.task_pipelines[task]


def _possible(model: LoadedModel) -> set[Task]:
    call = call_of(model.pipeline)
    return {*lookup.own_tasks(type(model.pipeline).__name__, call), *_siblings(model, call)}


def _siblings(model: LoadedModel, call: PipelineCall) -> dict[Task, str]:
    name = type(model.pipeline).__name__
    listed = calls.call_of(name)
    return lookup.siblings(name, call if listed is None else listed, model.pipeline.config)


def _check_media(model: LoadedModel, call: PipelineCall, task: Task) -> None:
    """Raise UnsupportedTask for an image task of a video model or the reverse. Checked here because the model may have
    been downloaded after submission."""
    makes_videos = lookup.makes_videos(call)
    if makes_videos and task not in VIDEO_TASKS:
        raise UnsupportedTask(f'{model.spec.id} makes videos: add "media": "video" to the options of its MODEL_ line.')
    if not makes_videos and task in VIDEO_TASKS:
        raise UnsupportedTask(f'{model.spec.id} makes images: remove "media" from the options of its MODEL_ line.')


def pipeline_over(pipeline: Any, wanted: str, **others: Any) -> Any:
    """A pipeline of the class `wanted` over the parts of another, and `others` of its own. Without `from_pipe`, which
    converts to float32."""
    kind = getattr(diffusers, wanted)
    takes = inspect.signature(kind.__init__).parameters
    known = {**pipeline.config, **pipeline.components, **others}
    made = kind(**{part: value for part, value in known.items() if part in takes})
    made.set_progress_bar_config(disable=True)
    return made


def _unsupported(model: LoadedModel, task: Task, instead: str, possible: list[Task]) -> UnsupportedTask:
    name = type(model.pipeline).__name__
    if task in VIDEO_TASKS and possible:
        instead = "send no image" if task == "img2video" else "send an image"
    advice = instead if instead.startswith("choose") else f"choose another model, or {instead}"
    return UnsupportedTask(f"{model.spec.id} ({name}) cannot do {task}: {advice}.")
