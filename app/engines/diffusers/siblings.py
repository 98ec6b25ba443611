"""The pipeline that does a task with a loaded model: its own, or a sibling over the very same weights.

A sibling holds references and no memory of its own. It is made when first asked for and goes with its model.
"""

from __future__ import annotations

from typing import Any

import diffusers
from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting

from app.core.tasks import TXT2IMG, Task
from app.engines.diffusers.residency import LoadedModel
from app.errors import UnsupportedTask

_AUTO = {"img2img": AutoPipelineForImage2Image, "inpaint": AutoPipelineForInpainting}
BEYOND_AUTO: dict[tuple[str, Task], str] = {  # siblings that diffusers has and its tables do not know
    ("SanaSprintPipeline", "img2img"): "SanaSprintImg2ImgPipeline",
}


def pipeline_for(model: LoadedModel, task: Task) -> Any:
    """Raises UnsupportedTask when diffusers has no such pipeline for this family."""
    if task == TXT2IMG:
        return model.pipeline
    if task not in model.siblings:
        model.siblings[task] = _make(model, task)
    return model.siblings[task]


def _make(model: LoadedModel, task: Task) -> Any:
    name = type(model.pipeline).__name__
    try:
        if (name, task) in BEYOND_AUTO:
            sibling = getattr(diffusers, BEYOND_AUTO[name, task])(**model.pipeline.components)
        else:
            sibling = _AUTO[task].from_pipe(model.pipeline)
    except ValueError:  # it cannot find a linked pipeline
        raise UnsupportedTask(
            f"{model.spec.id} ({name}) cannot do {task}. Choose another model, or send no image."
        ) from None
    sibling.set_progress_bar_config(disable=True)
    return sibling
