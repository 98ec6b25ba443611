"""Replaces a pipeline's scheduler for one call, made from the configuration of its own.

The own scheduler is put back afterwards, also when the call fails, and is not touched in between: the next job draws
the same bytes as without. A solver that was written for diffusion gets the two methods by which flow pipelines call
theirs.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import diffusers
import numpy as np

from app.core.families.schedulers import fitting, own_class, prediction_of
from app.core.request import GenerationRequest
from app.core.schedulers.choice import FIELDS
from app.core.schedulers.table import BY_NAME, Kind, SchedulerClass, kind_of
from app.errors import UnsupportedScheduler

_SPACINGS = ("karras", "exponential", "beta")


@contextmanager
def scheduler_of(pipeline: Any, request: GenerationRequest) -> Iterator[None]:
    """Use the scheduler that `request` asks for within the block. Raises UnsupportedScheduler when it does not fit."""
    if all(getattr(request, name) is None for name in FIELDS):
        yield
        return
    own = getattr(pipeline, "scheduler", None)
    chosen = _made(pipeline, own, request)
    pipeline.scheduler = chosen
    try:
        yield
    finally:
        pipeline.scheduler = own


def is_flow(scheduler: Any) -> bool:
    """Whether the model of `scheduler` predicts the velocity of a flow."""
    if "FlowMatch" in type(scheduler).__name__:
        return True
    return prediction_of(type(scheduler).__name__, getattr(scheduler, "config", {})) == "flow_prediction"


def _made(pipeline: Any, own: Any, request: GenerationRequest) -> Any:
    own_name, config = type(own).__name__, getattr(own, "config", {})
    prediction = prediction_of(own_name, config)
    able = fitting(type(pipeline).__name__, own_name, config)
    if prediction is None or not able:
        raise UnsupportedScheduler(f"{request.model_id} keeps its own scheduler ({own_name}). Leave out scheduler.")
    if request.scheduler is not None and request.scheduler not in able:
        raise UnsupportedScheduler(f"{request.model_id} takes {', '.join(able)}, not {request.scheduler}.")
    kind = kind_of(prediction)
    chosen = BY_NAME[request.scheduler].classes[kind] if request.scheduler else own_class(own_name, kind)
    if chosen is None:
        raise UnsupportedScheduler(
            f"The settings of {own_name} cannot be changed. Name a scheduler: {', '.join(able)}."
        )
    changes = _changes(request, chosen, kind, config)
    kept = chosen.options if request.scheduler else {}
    made = getattr(diffusers, chosen.name).from_config(config, **{**kept, **changes})
    return _called_as_flow(made, request) if kind == "flow" else made


def _changes(
    request: GenerationRequest, chosen: SchedulerClass, kind: Kind, config: Mapping[str, Any]
) -> dict[str, Any]:
    """What differs from the configuration of the pipeline's own scheduler. Raises UnsupportedScheduler."""
    changes: dict[str, Any] = {}
    if request.sigmas is not None:
        if not chosen.sigmas:
            raise UnsupportedScheduler(f"{_name(request, chosen)} has no choice of sigmas. Leave them out.")
        changes |= {f"use_{each}_sigmas": each == request.sigmas for each in _SPACINGS}
    if request.timestep_spacing is not None:
        if not chosen.spacing:
            raise UnsupportedScheduler(f"{_name(request, chosen)} has no timestep_spacing here. Leave it out.")
        changes["timestep_spacing"] = request.timestep_spacing
    if kind == "flow":
        return changes | _flow(request, chosen, config)
    if request.shift is not None:
        raise UnsupportedScheduler(f"shift is for flow models; {request.model_id} is none. Leave it out.")
    return changes


def _flow(request: GenerationRequest, chosen: SchedulerClass, config: Mapping[str, Any]) -> dict[str, Any]:
    """A shift that was asked for is used at all sizes."""
    shift = request.shift if request.shift is not None else config.get("shift") or config.get("flow_shift") or 1.0
    fixed = {"use_dynamic_shifting": False} if request.shift is not None else {}
    if "FlowMatch" in chosen.name:
        return {"shift": shift, **fixed}
    return {"flow_shift": shift, "use_flow_sigmas": True, "prediction_type": "flow_prediction", **fixed}


def _called_as_flow(scheduler: Any, request: GenerationRequest) -> Any:
    """Have `scheduler` take what flow pipelines call theirs with. Solvers choose their noise levels themselves, as
    diffusers has FLUX do it: of given ones only the number is used. A shift by size (`mu`) is for those that move."""
    if not hasattr(scheduler, "scale_noise"):
        scheduler.scale_noise = lambda sample, timestep, noise: scheduler.add_noise(sample, noise, timestep)
    own = scheduler.set_timesteps
    takes, moves = inspect.signature(own).parameters, bool(scheduler.config.get("use_dynamic_shifting"))
    if {"sigmas", "mu"} <= takes.keys() and "FlowMatch" in type(scheduler).__name__:
        return scheduler

    def set_timesteps(
        num_inference_steps: int | None = None, device: Any = None, sigmas: Any = None, mu: float | None = None
    ) -> None:
        given: dict[str, Any] = {"sigmas": np.asarray(sigmas)} if sigmas is not None and "sigmas" in takes else {}
        if not given:
            given["num_inference_steps"] = num_inference_steps if sigmas is None else len(sigmas)
        if mu is not None and moves:
            given["mu"] = mu
        try:
            own(device=device, **given)
        except (AssertionError, TypeError) as error:
            name = request.scheduler or type(scheduler).__name__
            raise UnsupportedScheduler(f"{request.model_id} cannot be drawn with {name}: {error}") from error

    scheduler.set_timesteps = set_timesteps
    return scheduler


def _name(request: GenerationRequest, chosen: SchedulerClass) -> str:
    return request.scheduler or chosen.name
