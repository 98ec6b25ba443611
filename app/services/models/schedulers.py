"""Lists the schedulers that requests may name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from app.core.schedulers.names import Sigmas, TimestepSpacing
from app.core.schedulers.table import SCHEDULERS, Scheduler
from app.services.context import AppContext
from app.services.models.capabilities import known_spec


@dataclass(frozen=True)
class KnownScheduler:
    """A scheduler, the values of the settings that go with it, and the models that it is known to fit."""

    scheduler: Scheduler
    sigmas: Sequence[str]
    timestep_spacings: Sequence[str]
    models: Sequence[str]


def listing(context: AppContext) -> list[KnownScheduler]:
    """All schedulers, in the order of the table."""
    known = {spec.id: known_spec(context, spec).options.schedulers or () for spec in context.catalog}
    return [
        KnownScheduler(
            scheduler=each,
            sigmas=get_args(Sigmas) if any(one.sigmas for one in each.classes.values()) else (),
            timestep_spacings=get_args(TimestepSpacing) if any(one.spacing for one in each.classes.values()) else (),
            models=[model_id for model_id, names in known.items() if each.name in names],
        )
        for each in SCHEDULERS
    ]
