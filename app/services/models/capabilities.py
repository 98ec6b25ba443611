"""Tasks that each model supports, as far as its pipeline class on this machine shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.core.catalog import ModelSpec
from app.core.families import lookup
from app.core.families import schedulers as fit
from app.core.families.lookup import needs
from app.core.tasks import TXT2IMG, VIDEO_TASKS, Task, as_video
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
    return tasks_of_known(known_spec(context, spec))


def tasks_of_known(known: ModelSpec) -> Sequence[Task]:
    """`tasks_of` for a spec from `known_spec`."""
    certain = known.options.tasks
    return (_minimum_task(known),) if certain is None else certain


def known_spec(context: AppContext, spec: ModelSpec) -> ModelSpec:
    """`spec` with its tasks, its schedulers and the rules of its family filled in, as far as its files on this machine
    identify it; what is unknown stays None."""
    index = hub_cache.read_object(_index_file(context, spec)) if spec.lane == "local" else {}
    pipeline_class = _class_of(spec, index)
    tasks, limits = _known_tasks(spec, pipeline_class, index), spec.limits
    if pipeline_class is not None and limits.max_input_images is None:
        limits = limits.model_copy(update={"max_input_images": lookup.most_pictures(pipeline_class)})
    schedulers = _known_schedulers(context, spec, pipeline_class, index)
    found = {"tasks": tasks, "limits": limits, **schedulers, **_prompt_weights(spec, pipeline_class)}
    options = spec.options.model_copy(update=found)
    known = spec.model_copy(update={"options": options})
    return with_family(known, pipeline_class) if spec.lane == "local" else known


def check_task(context: AppContext, spec: ModelSpec, task: Task) -> None:
    """Raise UnsupportedTask if `spec` certainly cannot do `task`; if unknown, its worker checks."""
    check_known_task(known_spec(context, spec), task)


def check_known_task(known: ModelSpec, task: Task) -> None:
    """`check_task` for a spec from `known_spec`."""
    certain = known.options.tasks
    if certain is not None and task not in certain:
        instead = f" ({needs(certain)})" if task in _IMAGE_TASKS else ""
        message = (
            f"{known.id} cannot {_TASK_NAMES[task]}{instead}; GET /api/models lists under tasks what each model can do"
        )
        field = {"inpaint": "mask", "txt2img": "model_id"}.get(task, "image")
        raise UnsupportedTask(f"{message}.", errors=[FieldError(field, message)])


def pipeline_class_of(context: AppContext, spec: ModelSpec) -> str | None:
    """The diffusers pipeline class of a model that runs locally; None while unknown."""
    return _class_of(spec, hub_cache.read_object(_index_file(context, spec))) if spec.lane == "local" else None


def config_of(context: AppContext, spec: ModelSpec, part: str) -> dict[str, Any]:
    """The configuration of a part of a model that runs locally; empty while unknown."""
    return hub_cache.read_object(_beside(_index_file(context, spec), part, "config.json"))


def _class_of(spec: ModelSpec, index: Mapping[str, Any]) -> str | None:
    found = spec.options.pipeline_class or index.get("_class_name")
    return found if isinstance(found, str) else None


def _known_tasks(spec: ModelSpec, pipeline_class: str | None, index: Mapping[str, Any]) -> tuple[Task, ...] | None:
    """None while the model's pipeline is unknown, and where it makes the other kind of media than its line says, which
    its worker explains."""
    if spec.options.tasks is not None:
        return tuple(as_video(task) for task in spec.options.tasks) if spec.media == "video" else spec.options.tasks
    if spec.lane == "remote":
        return (_minimum_task(spec),)
    tasks = None if pipeline_class is None else lookup.tasks_of(pipeline_class, index)
    if not tasks:
        return tasks
    return tuple(task for task in tasks if (task in VIDEO_TASKS) == (spec.media == "video")) or None


def _known_schedulers(
    context: AppContext, spec: ModelSpec, pipeline_class: str | None, index: Mapping[str, Any]
) -> dict[str, Any]:
    """The options `schedulers` and `prediction`: as the model's line states them, else by its own scheduler."""
    if spec.lane == "remote":
        return {"schedulers": ()}
    stated, prediction, own = spec.options.schedulers, spec.options.prediction, _scheduler_class(index)
    fitting: tuple[str, ...] | None = None
    if pipeline_class is not None and own is not None:
        config = hub_cache.read_object(_beside(_index_file(context, spec), "scheduler", "scheduler_config.json"))
        fitting, prediction = fit.fitting(pipeline_class, own, config), prediction or fit.prediction_of(own, config)
    elif index:  # pipelines of several models
        fitting = ()
    elif prediction is not None:
        fitting = fit.fitting_prediction(prediction)
    return {"schedulers": fitting if stated is None else stated, "prediction": prediction}


def _prompt_weights(spec: ModelSpec, pipeline_class: str | None) -> dict[str, bool]:
    if spec.options.prompt_weights is not None or pipeline_class is None:
        return {}
    family = lookup.family_of(pipeline_class)
    return {"prompt_weights": family is not None and family.prompt_weights}


def _scheduler_class(index: Mapping[str, Any]) -> str | None:
    entry = index.get("scheduler")
    return entry[1] if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str) else None


def _beside(index: Path | None, *names: str) -> Path | None:
    return None if index is None else index.parent.joinpath(*names)


def _minimum_task(spec: ModelSpec) -> Task:
    return as_video(TXT2IMG) if spec.media == "video" else TXT2IMG


def _index_file(context: AppContext, spec: ModelSpec) -> Path | None:
    settings, described_by = context.settings, spec.options.base or spec.repo
    path = settings.local_path(described_by)
    if spec.source == "huggingface" or (spec.options.base and not path.exists()):
        return next(hub_cache.indexes(settings.hub_cache, described_by), None)
    return (path if path.is_dir() else path.with_suffix("")) / "model_index.json"
