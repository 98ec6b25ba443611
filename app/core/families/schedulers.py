"""Which schedulers fit a model: those of its family that solve what its own scheduler solves.

Both the API, from the files of a model, and the engine, with the scheduler in hand, ask here. A family without a record
of schedulers keeps its own: some pipelines call it in ways that no other understands, or were distilled with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.families.lookup import family_of
from app.core.schedulers.table import (
    BY_NAME,
    DIFFUSION_SCHEDULERS,
    PLAIN_FLOW_ONLY,
    SCHEDULERS,
    Kind,
    Prediction,
    SchedulerClass,
    kind_of,
)

_CLASSES: Mapping[Kind, frozenset[str]] = {
    kind: frozenset(each.classes[kind].name for each in SCHEDULERS if kind in each.classes)
    for kind in ("diffusion", "flow")
}


def prediction_of(scheduler_class: str, config: Mapping[str, Any]) -> Prediction | None:
    """What a model predicts, by its own scheduler and that one's configuration; None if no other can replace it."""
    stated = config.get("prediction_type")
    if "FlowMatch" in scheduler_class:
        return "flow_prediction" if scheduler_class in _CLASSES["flow"] else None
    if stated == "flow_prediction" or config.get("use_flow_sigmas"):
        return "flow_prediction" if scheduler_class in _CLASSES["flow"] else None
    if scheduler_class not in _CLASSES["diffusion"]:
        return None
    if stated in (None, "epsilon"):
        return "epsilon"
    return "v_prediction" if stated == "v_prediction" else None


def fitting(pipeline_class: str, scheduler_class: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    """The schedulers for a pipeline whose own is `scheduler_class` with `config`; empty if it has to keep its own."""
    family, prediction = family_of(pipeline_class), prediction_of(scheduler_class, config)
    if family is None or prediction is None:
        return ()
    kind, moves = kind_of(prediction), bool(config.get("use_dynamic_shifting"))
    return tuple(
        name
        for name in family.schedulers
        if kind in BY_NAME[name].classes and not (kind == "flow" and moves and name in PLAIN_FLOW_ONLY)
    )


def fitting_prediction(prediction: Prediction) -> tuple[str, ...] | None:
    """Those for a model of which no more than its prediction is known; None if that does not decide it."""
    return DIFFUSION_SCHEDULERS if kind_of(prediction) == "diffusion" else None


def own_class(scheduler_class: str, kind: Kind) -> SchedulerClass | None:
    """The record of a model's own scheduler; None for a class that is none of the table."""
    classes = (each.classes.get(kind) for each in SCHEDULERS)
    return next((each for each in classes if each is not None and each.name == scheduler_class), None)
