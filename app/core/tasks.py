"""Tasks: what a request asks of a model. Which model supports which is decided in `families`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

Task = Literal["txt2img", "img2img", "inpaint", "edit", "txt2video", "img2video", "upscale"]
TXT2IMG: Task = "txt2img"
UPSCALE: Task = "upscale"  # of upscalers, which no pipeline runs
TASKS: tuple[Task, ...] = ("txt2img", "img2img", "inpaint", "edit", "txt2video", "img2video")
TEXT_TASKS: frozenset[Task] = frozenset({"txt2img", "txt2video"})
VIDEO_TASKS: tuple[Task, ...] = ("txt2video", "img2video")
_OF_VIDEOS: dict[Task, Task] = {"txt2img": "txt2video", "img2img": "img2video", "edit": "img2video"}

DEFAULT_STRENGTH: dict[Task, float] = {"img2img": 0.75, "inpaint": 1.0}


def task_from_a_picture(tasks: Collection[Task] | None, *, strength: bool) -> Task:
    """The task of a request with an image and no mask, for a model that supports `tasks` (None: unknown): `edit` keeps
    to the image without a `strength`, `img2img` draws over it."""
    if tasks is None or "edit" not in tasks or (strength and "img2img" in tasks):
        return "img2img"
    return "edit"


def as_video(task: Task) -> Task:
    """The corresponding task of a video model."""
    return _OF_VIDEOS.get(task, task)


def steps_run(num_inference_steps: int, strength: float | None) -> int:
    """The number of steps that run: starting from a picture skips the first ones.

    Rounded down, as in most families; some run one more. 0 means that there is nothing to do.
    """
    return num_inference_steps if strength is None else min(int(num_inference_steps * strength), num_inference_steps)
