"""Tasks that each model supports, as far as its pipeline class on this machine shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from app.core import tasks as known
from app.core.catalog import ModelSpec
from app.core.tasks import TXT2IMG, Task, as_video, needs
from app.core.videos import VIDEO_FAMILIES, with_family
from app.errors import FieldError, UnsupportedTask
from app.files import hub_cache
from app.services.context import AppContext

_TASK_NAMES: dict[Task, str] = {
    "txt2img": "generate from a prompt alone",
    "img2img": "start from an image",
    "inpaint": "use a mask",
    "txt2video": "make a video from a prompt alone: it needs an image",
    "img2video": "start a video from an image",
}
_IMAGE_TASKS: tuple[Task, ...] = ("txt2img", "img2img", "inpaint")


def tasks_of(context: AppContext, spec: ModelSpec) -> Sequence[Task]:
    """The tasks that `spec` certainly supports. A model not yet downloaded may support more."""
    certain = _known_tasks(context, spec)
    return (_minimum_task(spec),) if certain is None else certain


def known_spec(context: AppContext, spec: ModelSpec) -> ModelSpec:
    """`spec` with the rules of its video family filled in, if its files on this machine identify the family."""
    if spec.media != "video" or spec.lane != "local":
        return spec
    return with_family(spec, pipeline_class_of(context, spec))


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
    return spec.options.pipeline_class or _class_of(_index_file(context, spec))


def _known_tasks(context: AppContext, spec: ModelSpec) -> Sequence[Task] | None:
    """None while the model's pipeline is unknown."""
    if spec.options.tasks is not None:
        return tuple(as_video(task) for task in spec.options.tasks) if spec.media == "video" else spec.options.tasks
    if spec.source not in ("local", "huggingface"):
        return (_minimum_task(spec),)
    pipeline_class = pipeline_class_of(context, spec)
    if pipeline_class is None:
        return None
    if spec.media == "video":
        family = VIDEO_FAMILIES.get(pipeline_class)
        return None if family is None else family.tasks
    return known.tasks_of(pipeline_class)


def _minimum_task(spec: ModelSpec) -> Task:
    return as_video(TXT2IMG) if spec.media == "video" else TXT2IMG


def _index_file(context: AppContext, spec: ModelSpec) -> Path | None:
    settings, described_by = context.settings, spec.options.base or spec.repo
    path = settings.local_path(described_by)
    if spec.source == "huggingface" or (spec.options.base and not path.exists()):
        return next(hub_cache.indexes(settings.hub_cache, described_by), None)
    return (path if path.is_dir() else path.with_suffix("")) / "model_index.json"


def _class_of(index: Path | None) -> str | None:
    try:
        found = json.loads(index.read_text(encoding="utf-8"))["_class_name"] if index is not None else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None
