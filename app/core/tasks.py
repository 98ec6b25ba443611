"""What can be done with a model, beside drawing from words alone: start from a picture, or repaint a part of one.

Which pipelines have a sibling for that is diffusers' knowledge (its AutoPipeline tables, mostly); it is written down
here, so that the API can tell without importing diffusers, and tests/engines holds it to the installed version.
Families of videos have more rules than that: see `videos.py`.
"""

from __future__ import annotations

from typing import Literal

Task = Literal["txt2img", "img2img", "inpaint", "txt2video", "img2video"]
TXT2IMG: Task = "txt2img"
TEXT_TASKS: frozenset[Task] = frozenset({"txt2img", "txt2video"})
VIDEO_TASKS: tuple[Task, ...] = ("txt2video", "img2video")
_OF_VIDEOS: dict[Task, Task] = {"txt2img": "txt2video", "img2img": "img2video"}

_BOTH: tuple[Task, ...] = ("txt2img", "img2img", "inpaint")
_IMG2IMG: tuple[Task, ...] = ("txt2img", "img2img")
_BY_PIPELINE: dict[str, tuple[Task, ...]] = {
    "FluxPipeline": _BOTH,
    "StableDiffusion3Pipeline": _BOTH,
    "StableDiffusionXLPipeline": _BOTH,
    "StableDiffusionPipeline": _BOTH,
    "QwenImagePipeline": _BOTH,
    "ZImagePipeline": _BOTH,
    "KolorsPipeline": _IMG2IMG,
    "LatentConsistencyModelPipeline": _IMG2IMG,
    "SanaSprintPipeline": _IMG2IMG,
}

DEFAULT_STRENGTH: dict[Task, float] = {"img2img": 0.75, "inpaint": 1.0}


def tasks_of(pipeline_class: str) -> tuple[Task, ...]:
    """What a model of this diffusers pipeline can do here."""
    return _BY_PIPELINE.get(pipeline_class, (TXT2IMG,))


def as_video(task: Task) -> Task:
    """What a model of videos means by `task`."""
    return _OF_VIDEOS.get(task, task)


def steps_run(num_inference_steps: int, strength: float | None) -> int:
    """Of the steps asked for, those that a start from a picture leaves: the first ones are skipped.

    Rounded down, as most families do it; some run one more. 0 means that nothing is left to do.
    """
    return num_inference_steps if strength is None else min(int(num_inference_steps * strength), num_inference_steps)
