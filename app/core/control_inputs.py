"""Rules of control and reference pictures that need nothing but the request and the model's line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from app.core.inputs import InputChoice, InputRef
from app.core.tasks import VIDEO_TASKS, Task
from app.errors import FieldError

MOST_CONTROLS = 4
USUAL_WEIGHT = 1.0


def is_adapted(picture: InputChoice, tasks: Collection[Task] | None) -> bool:
    """Whether a reference is for an adapter beside a model that supports `tasks` (None: unknown): one that names an
    adapter, or for a model that edits no pictures. Models that edit see it themselves."""
    if picture.role != "reference":
        return False
    return picture.model is not None or (bool(tasks) and not {"edit", *VIDEO_TASKS} & set(tasks or ()))


def control_problems(
    controls: Sequence[InputChoice], *, media: Literal["image", "video"], lane: str, model_id: str
) -> list[FieldError]:
    """What is wrong with the control pictures of a request, whatever the ControlNets are."""
    if not controls:
        return []
    if media == "video" or lane == "remote":
        why = "it makes videos" if media == "video" else "it runs at a provider"
        return [FieldError("inputs", f"may hold no control picture for {model_id}: {why}")]
    if len(controls) > MOST_CONTROLS:
        return [FieldError("inputs", f"may hold {MOST_CONTROLS} control pictures, not {len(controls)}")]
    return []


WEIGHTLESS = frozenset({"none", "canny", "tile", "lineart"})  # processors that are arithmetic


def detectors_of(pictures: Iterable[InputRef]) -> list[str]:
    """The processors of control pictures that need a model, each once."""
    named = (each.processor for each in pictures if each.processor is not None and each.processor not in WEIGHTLESS)
    return list(dict.fromkeys(named))
