"""ControlNets, reference adapters and detectors: what is known of them, and which of them a request uses.

What their files on this machine say is checked before a job is queued; its worker checks the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.auxiliaries import REFERENCE_KINDS, Kind, NetShape, modes_of, net_shape, width_problem
from app.core.catalog import ModelSpec
from app.core.control_inputs import WEIGHTLESS
from app.core.families import controls
from app.core.families.lookup import family_of
from app.core.inputs import InputChoice
from app.core.memory_parts import DENOISERS
from app.core.request import GenerationInput
from app.core.tasks import Task
from app.errors import FieldError, InputModelIncompatible, InputModelUnavailable, InvalidRequest
from app.files import hub_cache
from app.files.auxiliary_files import AuxiliaryFiles, files_in
from app.services.context import AppContext
from app.services.models.capabilities import config_of, pipeline_class_of
from app.services.models.fleet import Fleet, fleet_of

_CONTROL_MODELS: tuple[Kind, ...] = ("controlnet",)


@dataclass(frozen=True)
class KnownAuxiliary:
    """An auxiliary model. `net` is what a ControlNet's configuration says; None before it is on this machine, and for
    other kinds. `files` are those here, None unless all are."""

    spec: ModelSpec
    net: NetShape | None
    files: AuxiliaryFiles | None

    @property
    def available(self) -> bool:
        return self.files is not None

    @property
    def kind(self) -> Kind:
        assert self.spec.options.kind is not None  # the catalogue keeps no other
        return self.spec.options.kind

    @property
    def family(self) -> str | None:
        """The architecture that it is for; None while that is not known."""
        return self.spec.options.family or (self.net.family if self.net is not None else None)

    @property
    def modes(self) -> Mapping[str, int]:
        return {} if self.net is None else modes_of(self.net)


@dataclass(frozen=True)
class Base:
    """The model of a request, as far as its files are here."""

    spec: ModelSpec
    pipeline_class: str | None
    denoiser: Mapping[str, Any]


def known_auxiliary(context: AppContext, spec: ModelSpec) -> KnownAuxiliary:
    folders = list(_folders(context, spec.repo))
    located = (files_in(folder, spec.options, lambda name: list(_folders(context, name))) for folder in folders)
    here = next((files for files in located if files is not None), None)
    config = next((found for folder in folders if (found := hub_cache.read_object(folder / "config.json"))), {})
    return KnownAuxiliary(spec, net_shape(config) if spec.options.kind == "controlnet" else None, here)


def listing(context: AppContext) -> list[KnownAuxiliary]:
    """All auxiliary models of the catalogue."""
    return [known_auxiliary(context, spec) for spec in context.catalog.auxiliaries.values()]


def base_of(context: AppContext, spec: ModelSpec) -> Base:
    denoiser: Mapping[str, Any] = {}
    if spec.lane == "local":
        found = (config_of(context, spec, part) for part in DENOISERS)
        denoiser = next((config for config in found if config), {})
    return Base(spec, pipeline_class_of(context, spec), denoiser)


def fitting(base: Base, known: Sequence[KnownAuxiliary], kinds: frozenset[Kind]) -> list[KnownAuxiliary]:
    """Those of `kinds` that certainly fit the model."""
    if base.pipeline_class is None:
        return []
    return [each for each in known if each.kind in kinds and _is_stated(each) and not problem_of(base, each)]


def ids_for(base: Base, known: Sequence[KnownAuxiliary], role: str) -> list[str]:
    """The auxiliary models that `model` of an input picture of this role may name."""
    kinds = frozenset(_CONTROL_MODELS) if role == "control" else REFERENCE_KINDS
    return [each.spec.id for each in fitting(base, known, kinds)]


def processors_of(known: Sequence[KnownAuxiliary]) -> list[str]:
    """The processors that can be asked for."""
    detected = (each.spec.options.detects for each in known)
    return ["none", "canny", "lineart", "tile", *dict.fromkeys(name for name in detected if name is not None)]


def roles_of(base: Base, tasks: Sequence[Task], known: Sequence[KnownAuxiliary]) -> list[str]:
    """The roles of input pictures that a model takes, with the auxiliary models of the catalogue."""
    found = ["image"] if {"img2img", "edit", "inpaint", "img2video"} & set(tasks) else []
    found += ["mask"] if "inpaint" in tasks else []
    if ("edit" in tasks and (base.spec.limits.max_input_images or 1) > 1) or fitting(base, known, REFERENCE_KINDS):
        found.append("reference")
    own = base.pipeline_class is not None and controls.has_own_control(base.pipeline_class)
    if own or fitting(base, known, frozenset(_CONTROL_MODELS)):
        found.append("control")
    return found


def with_auxiliaries(
    context: AppContext, spec: ModelSpec, asked: GenerationInput, task: Task, fleet: Fleet | None = None
) -> GenerationInput:
    """`asked` with the auxiliary model of each control picture and reference named by its id. A worker of `fleet`
    (None: as it is now) may have what is not here.

    Raises InvalidRequest, InputModelUnavailable or InputModelIncompatible, naming the field.
    """
    pipeline_class = pipeline_class_of(context, spec)
    own = pipeline_class is not None and controls.has_own_control(pipeline_class)
    if own and len(asked.controls) != 1:
        raise _invalid("inputs", f"must hold one control picture for {spec.id}, not {len(asked.controls)}")
    if not any(each.role in ("control", "reference") for each in asked.inputs):
        return asked
    base, known = base_of(context, spec), listing(context)
    chosen: list[InputChoice] = []
    for index, picture in enumerate(asked.inputs):
        field = f"inputs.{index}"
        if picture.role == "control" and not own:
            net = _control_model(base, known, picture, field)
            picture = picture.model_copy(update={"model": net.spec.id})
            _check_mode(net, picture, field)
        elif picture.role == "control":
            _check_own_control(base, picture, field)
        elif picture.role == "reference" and not _is_native(picture, spec, task):
            adapter = _chosen(base, known, picture, REFERENCE_KINDS, field)
            picture = picture.model_copy(update={"model": adapter.spec.id})
        elif picture.role == "reference" and picture.weight is not None:
            raise _invalid(f"{field}.weight", f"is for references by an adapter; {spec.id} reads the picture itself")
        if picture.role == "control":
            _check_processor(known, picture, field, fleet or fleet_of(context))
        chosen.append(picture)
    found = asked.model_copy(update={"inputs": tuple(chosen)})
    _check_together(base, known, found, task)
    return found


def _is_native(picture: InputChoice, spec: ModelSpec, task: Task) -> bool:
    """Whether the model reads the reference itself; while its tasks are unknown, its worker decides."""
    return picture.model is None and (task == "edit" or spec.options.tasks is None)


def _control_model(base: Base, known: Sequence[KnownAuxiliary], picture: InputChoice, field: str) -> KnownAuxiliary:
    if base.pipeline_class is not None and controls.control_rules(base.pipeline_class) is None:
        raise _invalid(f"{field}.role", f"may not be control: no ControlNet can be used with {base.spec.id}")
    return _chosen(base, known, picture, frozenset(_CONTROL_MODELS), field)


def _chosen(
    base: Base, known: Sequence[KnownAuxiliary], picture: InputChoice, kinds: frozenset[Kind], field: str
) -> KnownAuxiliary:
    """The auxiliary model that the picture names, or the only one that fits."""
    what = "ControlNet" if picture.role == "control" else "reference adapter"
    if picture.model is None:
        able = fitting(base, known, kinds)
        if len(able) == 1:
            return able[0]
        if not able:
            kind = '{"kind": "controlnet"}' if picture.role == "control" else '{"kind": "ip-adapter"} or "redux"'
            message = f"has none that is known to fit {base.spec.id}: add a MODEL_ line with {kind}, or name its model"
            raise InputModelUnavailable(
                f"{base.spec.id} takes no {picture.role} pictures: no {what} that is here fits it.",
                errors=[FieldError(f"{field}.model", message)],
            )
        named = ", ".join(each.spec.id for each in able)
        raise _invalid(f"{field}.model", f"must say which {what} is meant: {named}")
    meant = picture.model.strip().casefold()
    found = next((each for each in known if meant in _names(each.spec)), None)
    if found is None or found.kind not in kinds:
        others = ", ".join(each.spec.id for each in known if each.kind in kinds) or "none"
        message = f"there is no {what} {picture.model[:100]!r}; the catalogue has {others}"
        raise InputModelUnavailable(
            f"{message[0].upper()}{message[1:]}.", errors=[FieldError(f"{field}.model", message)]
        )
    if problem := problem_of(base, found):
        message = f"{found.spec.id} does not fit {base.spec.id}: {problem}"
        raise InputModelIncompatible(f"{message}.", errors=[FieldError(f"{field}.model", message)])
    return found


def _names(spec: ModelSpec) -> set[str]:
    return {name.casefold() for name in (spec.id, spec.name, spec.repo, *spec.options.aliases)}


def _is_stated(known: KnownAuxiliary) -> bool:
    return known.kind == "redux" or known.family is not None or known.net is not None


def problem_of(base: Base, known: KnownAuxiliary) -> str:
    """Why the auxiliary model does not fit, as far as that is known; empty if it may."""
    name = base.pipeline_class
    if name is None:
        return ""
    if known.kind == "controlnet":
        return _net_problem(base, known, name)
    if known.kind == "redux":
        return "" if controls.takes_redux(name) else "FLUX Redux is for FLUX.1"
    own = controls.ip_adapter_family(name)
    if own is None or known.family != own:
        return f"it is for {known.family}" if own else "no IP-Adapter can be used with its family"
    return ""


def _net_problem(base: Base, known: KnownAuxiliary, name: str) -> str:
    rules, family = controls.control_rules(name), family_of(name)
    if rules is None or family is None:
        return "no ControlNet can be used with its family"
    if known.family is not None and known.family not in family.loras:
        return f"it is for {known.family}"
    if known.net is None:
        return ""
    if known.net.net_class not in rules.pipelines:
        return f"it is a {known.net.net_class}"
    return width_problem(known.net, base.denoiser) or ""


def _check_mode(known: KnownAuxiliary, picture: InputChoice, field: str) -> None:
    """A union ControlNet must be told what the picture shows."""
    if known.net is None:
        return
    modes = known.modes
    if not known.net.is_union:
        if picture.mode is not None:
            raise _invalid(f"{field}.mode", f"is for union ControlNets; {known.spec.id} is none")
        return
    meant = picture.mode or picture.processor
    if meant not in modes:
        raise _invalid(f"{field}.mode", f"must say what the picture shows, for {known.spec.id}: {', '.join(modes)}")


def _check_own_control(base: Base, picture: InputChoice, field: str) -> None:
    given = next(
        (name for name in ("model", "weight", "start", "end", "mode") if getattr(picture, name) is not None), None
    )
    if given is not None:
        raise _invalid(f"{field}.{given}", f"is for ControlNets; {base.spec.id} reads the control picture itself")


def _check_processor(known: Sequence[KnownAuxiliary], picture: InputChoice, field: str, fleet: Fleet) -> None:
    name = picture.processor
    if name is None or name in WEIGHTLESS or fleet.has_detector(name):
        return
    detectors = [each for each in known if each.spec.options.detects == name]
    lost = next((each.spec for each in detectors if each.spec.source == "local" and not each.available), None)
    if lost is not None:
        message = f"needs {lost.id}, whose files are missing: put config.json and .safetensors files into {lost.repo}"
        message += f", and the model {lost.options.second}" if lost.options.second else ""
        raise InputModelUnavailable(
            f"The {name} processor {message}.", errors=[FieldError(f"{field}.processor", message)]
        )
    if not detectors:
        message = f'is {name}, which needs a model: add a MODEL_ line with {{"kind": "detector", "detects": "{name}"}}'
        raise InputModelUnavailable(
            f"No model of the catalogue makes {name} pictures.", errors=[FieldError(f"{field}.processor", message)]
        )


def _check_together(base: Base, known: Sequence[KnownAuxiliary], asked: GenerationInput, task: Task) -> None:
    """The rules for several pictures, and for the task."""
    by_id = {each.spec.id: each for each in known}
    adapters = [by_id[each.model] for each in asked.inputs if each.role == "reference" and each.model in by_id]
    if len({each.kind for each in adapters}) > 1:
        raise _invalid("inputs", "may hold references by IP-Adapters or by Redux, not both")
    name = base.pipeline_class
    rules = None if name is None else controls.control_rules(name)
    if not asked.controls or name is None or rules is None:
        return
    nets = [by_id[each.model] for each in asked.controls if each.model in by_id]
    classes = {each.net.net_class for each in nets if each.net is not None}
    if len(classes) > 1:
        raise _invalid("inputs", f"may hold controls by ControlNets of one class, not {' and '.join(sorted(classes))}")
    if len(asked.controls) > rules.most:
        raise _invalid("inputs", f"may hold {rules.most} control picture for {base.spec.id}, not {len(asked.controls)}")
    if rules.one_net and len({each.spec.id for each in nets}) > 1:
        raise _invalid("inputs", f"may hold controls by one ControlNet only for {base.spec.id}")
    if not rules.periods and any(each.start is not None or each.end is not None for each in asked.controls):
        raise _invalid("inputs", f"may hold no start and end: a ControlNet of {base.spec.id} works in all steps")
    for net_class in classes:
        if controls.controlled_pipeline(name, net_class, task) is None:
            able = " and ".join(rules.pipelines[net_class])
            raise _invalid("inputs", f"may hold a control picture of {base.spec.id} for {able} only, not for {task}")


def _folders(context: AppContext, name: str) -> Iterator[Path]:
    """Where the files of a folder or repository called `name` may be on this machine."""
    if (here := context.settings.local_path(name)).is_dir():
        yield here
    if hub_cache.is_repo_id(name):
        yield from (hub_cache.repo_folder(context.settings.hub_cache, name) / "snapshots").glob("*")


def _invalid(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {message}.", errors=[FieldError(field, message)])
