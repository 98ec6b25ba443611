"""Tasks that each model supports, as far as its pipeline class on this machine shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.core.catalog import ModelSpec
from app.core.families import lookup
from app.core.families.lookup import needs
from app.core.tasks import TXT2IMG, Task, as_video
from app.core.videos import with_family
from app.errors import FieldError, UnsupportedTask
from app.files import hub_cache
from app.services.context import AppContext

_TASK_NAMES: dict[Task, str] = {
    "txt2img": "generate from a prompt alone",
    "img2img": "start from an image",
    "inpaint": "use a mask",
    "edit": "edit an image",
    "txt2video": "make a video from a prompt alone: it needs an image",
    "img2video": "start a video from an image",
}
_IMAGE_TASKS: tuple[Task, ...] = ("txt2img", "img2img", "inpaint", "edit")


def tasks_of(context: AppContext, spec: ModelSpec) -> Sequence[Task]:
    """The tasks that `spec` certainly supports. A model not yet downloaded may support more."""
    certain = _known_tasks(context, spec)
    return (_minimum_task(spec),) if certain is None else certain


def known_spec(context: AppContext, spec: ModelSpec) -> ModelSpec:
    """`spec` with its tasks and the rules of its family filled in, if its files on this machine identify the family."""
    if spec.lane != "local":
        return spec
    pipeline_class = pipeline_class_of(context, spec)
    tasks = _known_tasks(context, spec)
    limits, options = spec.limits, spec.options
    if pipeline_class is not None and limits.max_input_images is None:
        limits = limits.model_copy(update={"max_input_images": lookup.most_pictures(pipeline_class)})
    known = options.model_copy(update={"tasks": None if tasks is None else tuple(tasks), "limits": limits})
    return with_family(spec.model_copy(update={"options": known}), pipeline_class)


def check_task(context: AppContext, spec: ModelSpec, task: Task) -> None:
    """Raise UnsupportedTask if `spec` certainly cannot do `task`; if unknown, its worker checks."""
    certain = _known_tasks(context, spec)
    if certain is not None and task not in certain:
        instead = f" ({needs(certain)})" if task in _IMAGE_TASKS else ""
        message = (
            f"{spec.id} cannot {_TASK_NAMES[task]}{instead}; GET /api/models lists under tasks what each model can do"
        )
        field = {"inpaint": "mask", "txt2img": "model_id"}.get(task, "image")
        raise UnsupportedTask(f"{message}.", errors=[FieldError(field, message)])


def pipeline_class_of(context: AppContext, spec: ModelSpec) -> str | None:
    """The diffusers pipeline class of a model that runs locally; None while unknown."""
    if spec.source not in ("local", "huggingface"):
        return None
    if spec.options.pipeline_class is not None:
        return spec.options.pipeline_class
    found = _index(_index_file(context, spec)).get("_class_name")
    return found if isinstance(found, str) else None


def _known_tasks(context: AppContext, spec: ModelSpec) -> Sequence[Task] | None:
    """None while the model's pipeline is unknown."""
    if spec.options.tasks is not None:
        return tuple(as_video(task) for task in spec.options.tasks) if spec.media == "video" else spec.options.tasks
    if spec.source not in ("local", "huggingface"):
        return (_minimum_task(spec),)
    pipeline_class = pipeline_class_of(context, spec)
    return None if pipeline_class is None else lookup.tasks_of(pipeline_class, _index(_index_file(context, spec)))


def _minimum_task(spec: ModelSpec) -> Task:
    return as_video(TXT2IMG) if spec.media == "video" else TXT2IMG


def _index_file(context: AppContext, spec: ModelSpec) -> Path | None:
    settings, described_by = context.settings, spec.options.base or spec.repo
    path = settings.local_path(described_by)
    if spec.source == "huggingface" or (spec.options.base and not path.exists()):
        return next(hub_cache.indexes(settings.hub_cache, described_by), None)
    return (path if path.is_dir() else path.with_suffix("")) / "model_index.json"


def _index(index: Path | None) -> dict[str, Any]:
    """The content of a model_index.json; empty if there is none that can be read."""
    try:
        found = json.loads(index.read_text(encoding="utf-8")) if index is not None else None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
