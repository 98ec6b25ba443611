"""Chooses a model for a task where the client names none."""

from __future__ import annotations

from collections.abc import Collection

from app.core.catalog import ModelSpec
from app.core.tasks import Task
from app.errors import FieldError, UnsupportedTask
from app.services.context import AppContext
from app.services.models.capabilities import known_spec, tasks_of_known
from app.services.models.fleet import fleet_of, informed
from app.services.models.model_files import files_of


def able_model(context: AppContext, tasks: Collection[Task]) -> ModelSpec:
    """The default model if it can do one of `tasks`, else the first of the catalogue that can and whose files are here
    or on a worker's disk.
    Raises UnsupportedTask."""
    fleet = fleet_of(context)
    default: ModelSpec = context.catalog.get(None)
    candidates: list[ModelSpec] = [default, *context.catalog]
    for spec in candidates:
        can = set(tasks_of_known(known_spec(context, informed(context, fleet, spec)))) & set(tasks)
        if can and (spec is default or files_of(context, spec).available or fleet.has_files(spec.id)):
            return spec
    message = f"no model that is on this server can do {' or '.join(tasks)}; name one in model_id, or add one"
    raise UnsupportedTask(f"There is {message}.", errors=[FieldError("model_id", message)])
