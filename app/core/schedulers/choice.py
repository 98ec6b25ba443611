"""Validates the scheduler settings of a request against what is known about its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.core.schedulers.names import Sigmas, TimestepSpacing, closest, is_sigmas, read_name
from app.core.schedulers.table import BY_NAME, Kind, Prediction, kind_of
from app.errors import FieldError

FIELDS = ("scheduler", "shift", "timestep_spacing", "sigmas")


class SchedulerSettings(Protocol):
    """The fields of a request's settings, and of a model's defaults."""

    @property
    def scheduler(self) -> str | None: ...
    @property
    def shift(self) -> float | None: ...
    @property
    def timestep_spacing(self) -> TimestepSpacing | None: ...
    @property
    def sigmas(self) -> Sigmas | None: ...


@dataclass(frozen=True)
class SchedulerChoice:
    """What a job uses; None leaves it to the model's own scheduler."""

    scheduler: str | None = None
    shift: float | None = None
    timestep_spacing: TimestepSpacing | None = None
    sigmas: Sigmas | None = None


def choose(
    wanted: SchedulerSettings,
    defaults: SchedulerSettings,
    *,
    fitting: tuple[str, ...] | None,
    prediction: Prediction | None,
    model_id: str,
    problems: list[FieldError],
) -> SchedulerChoice:
    """The scheduler settings of a job: those asked for, else the model's. `fitting` and `prediction` are None while
    they are not known; the worker that loads the model decides then.

    Adds what cannot be used to `problems`. A scheduler that is asked for comes without the noise levels (`sigmas`) of
    the model's default one; a default that the scheduler asked for does not have is left out.
    """
    sigmas, spacing, name = wanted.sigmas, wanted.timestep_spacing, None
    if wanted.scheduler is not None:
        name, sigmas, spacing = _named(wanted, fitting, model_id, problems)
    elif any(getattr(wanted, field) is not None for field in FIELDS) and fitting == ():
        problems.append(FieldError(f"settings.{_first(wanted)}", f"cannot be used: {_keeps_its_own(model_id)}"))
        return SchedulerChoice()
    kind = kind_of(prediction) if prediction is not None else None
    problems += _misfits(name or defaults.scheduler, sigmas, spacing, wanted.shift, kind, model_id)
    if wanted.scheduler is None:
        name, sigmas = defaults.scheduler, sigmas or defaults.sigmas
    spacing = spacing or _if_usable(name, kind, defaults.timestep_spacing)
    return SchedulerChoice(name, wanted.shift if wanted.shift is not None else defaults.shift, spacing, sigmas)


def _named(
    wanted: SchedulerSettings, fitting: tuple[str, ...] | None, model_id: str, problems: list[FieldError]
) -> tuple[str | None, Sigmas | None, TimestepSpacing | None]:
    """The scheduler asked for, and what its name says of the other settings."""
    written = wanted.scheduler or ""
    found = read_name(written)
    if found is None:
        problems.append(FieldError("settings.scheduler", _unknown(written)))
        return None, wanted.sigmas, wanted.timestep_spacing
    if fitting is not None and found.name not in fitting:
        why = f"takes {', '.join(fitting)}, not {found.name}" if fitting else "keeps its own"
        problems.append(FieldError("settings.scheduler", f"does not fit: {model_id} {why}"))
    for field in ("sigmas", "timestep_spacing"):
        said, asked = getattr(found, field), getattr(wanted, field)
        if said is not None and asked not in (None, said):
            problems.append(FieldError(f"settings.{field}", f"is {asked}, but {written!r} means {said}"))
    return found.name, wanted.sigmas or found.sigmas, wanted.timestep_spacing or found.timestep_spacing


def _unknown(written: str) -> str:
    if is_sigmas(written):
        return f"is no scheduler: {written!r:.40} is a spacing of noise levels; send it as sigmas or timestep_spacing"
    meant = closest(written)
    advice = f"did you mean {meant}?" if meant else "see GET /api/schedulers"
    return f"there is no scheduler {written!r:.60}; {advice}"


def _misfits(
    name: str | None,
    sigmas: Sigmas | None,
    spacing: TimestepSpacing | None,
    shift: float | None,
    kind: Kind | None,
    model_id: str,
) -> list[FieldError]:
    """Settings that the scheduler does not have for models of this kind, as far as it is known."""
    if kind is None:
        return []
    problems, chosen = [], BY_NAME[name].classes.get(kind) if name is not None else None
    if kind == "diffusion" and shift is not None:
        problems.append(FieldError("settings.shift", f"is for flow models; {model_id} is none"))
    if kind == "flow" and spacing is not None:
        problems.append(
            FieldError("settings.timestep_spacing", f"is not for flow models such as {model_id}; use shift")
        )
    elif chosen is not None and spacing is not None and not chosen.spacing:
        problems.append(FieldError("settings.timestep_spacing", f"is nothing that {name} has"))
    if chosen is not None and sigmas is not None and not chosen.sigmas:
        able = [each.name for each in BY_NAME.values() if kind in each.classes and each.classes[kind].sigmas]
        problems.append(FieldError("settings.sigmas", f"cannot be chosen for {name}; it can for {', '.join(able)}"))
    return problems


def _if_usable(name: str | None, kind: Kind | None, default: TimestepSpacing | None) -> TimestepSpacing | None:
    chosen = BY_NAME[name].classes.get(kind) if name is not None and kind is not None else None
    return default if chosen is None or chosen.spacing else None


def _first(wanted: SchedulerSettings) -> str:
    return next(field for field in FIELDS if getattr(wanted, field) is not None)


def _keeps_its_own(model_id: str) -> str:
    return f"{model_id} keeps its own scheduler as it is"
