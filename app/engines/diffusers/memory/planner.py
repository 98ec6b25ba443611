"""Plans the memory of a model before it is loaded, and evicts other models to make the room that the plan needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from app.core.catalog import ModelSpec
from app.core.memory_forms import FOUR_BIT_PACKAGE, Forms, Machine, possible_forms
from app.core.memory_parts import PictureSize
from app.core.memory_plan import (
    MemoryPlan,
    Offload,
    Plan,
    PlannedModel,
    Room,
    choose,
    closest,
    highest_working_bytes,
    loading_order,
    plans,
    resident_bytes,
    smaller_than,
    smaller_than_killed,
)
from app.engines.base import EngineSettings
from app.engines.diffusers.load.build import find_class, pipeline_class_name
from app.engines.diffusers.load.casting import part_class
from app.engines.diffusers.load.checkpoint import Checkpoint
from app.engines.diffusers.load.errors import log
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.quantization import Compression, is_installed
from app.engines.diffusers.memory.beside import NOTHING_BESIDE, Beside
from app.engines.diffusers.memory.memory import free_bytes, gigabytes, is_gpu
from app.engines.diffusers.memory.model_cache import ModelCache
from app.engines.diffusers.memory.part_shapes import part_shapes
from app.engines.diffusers.memory.refusals import impossible_wish, no_room

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Planning:
    """What a plan was chosen from: the model, its forms and the plans in the order in which they are tried."""

    model: PlannedModel
    forms: Forms
    candidates: Sequence[MemoryPlan]
    wish: Offload


@dataclass
class _Chosen:
    """The plan of a model, one of `allowed`, which come from `candidates`. After it ran out of memory `smaller` are
    those to choose from next; `first_form` is that of the plan that ran out first. Blocks of `resident_bytes` stay on
    the device; `all_streamed` if it ran out with some. `killed` names a plan that is avoided because the kernel killed
    a worker under it. `beside` are the bytes of auxiliary models that it has room for; `for_auxiliaries`: without them
    the weights would have another form."""

    spec: ModelSpec
    dtype: torch.dtype
    plan: MemoryPlan
    candidates: Sequence[MemoryPlan] = field(repr=False)
    allowed: Sequence[MemoryPlan] = field(repr=False)
    first_form: str
    resident_bytes: int = 0
    all_streamed: bool = False
    killed: str = ""
    beside: int = 0
    for_auxiliaries: bool = False
    smaller: Sequence[MemoryPlan] = field(default=(), repr=False)


class MemoryPlanner:
    """Plans for one device. It remembers which plan ran out of memory, so that the next load takes a smaller one."""

    def __init__(self, settings: EngineSettings, device: torch.device, model_cache: ModelCache) -> None:
        self._settings = settings
        self._device = device
        self._model_cache = model_cache
        self._chosen: dict[str, _Chosen] = {}

    def choose(
        self,
        spec: ModelSpec,
        checkpoint: Checkpoint,
        load_plan: LoadPlan,
        shared: Mapping[str, Any],
        size: PictureSize,
        beside: Beside = NOTHING_BESIDE,
    ) -> LoadPlan:
        """`load_plan` with the first plan that fits into the memory that is free, or that evicting other models frees;
        they are evicted. There is room for the auxiliary models `beside` it too; if possible under a plan that keeps
        the form that the weights have without them, since another form makes other pictures.

        Raises NoRoom when none fits, and ModelUnavailable when no form of the model can be placed as asked.
        """
        here = [name for name, part in shared.items() if self._model_cache.has_on_device(part)]
        held = {id(shared[name]) for name in here}
        planning = self._planning(spec, checkpoint, load_plan, here, size, beside.bytes)
        killed = self._settings.plan_history.killed(spec.id)
        candidates = self._remaining(spec, load_plan.dtype, smaller_than_killed(planning.candidates, killed))
        reachable = self._reachable(held | self._model_cache.parts_of(beside.resident))
        usual = self._usual_form(spec, load_plan.dtype, planning, reachable) if beside.bytes else ""
        if usual:
            candidates = sorted(candidates, key=lambda plan: plan.form.label != usual)
        plan = _first(candidates, reachable)
        room = self._make_room(spec, plan, held, beside.resident)
        plan = _first(candidates, room)  # again: perhaps not all was freed
        if len(planning.candidates) > 1:
            log.info("%s: memory plan %s, %s", spec.id, plan.label, _estimates(planning.candidates, room))
        if not plan.fits(room):
            raise no_room(spec, planning, plan, room, self._device)
        before = self._chosen.get(spec.id)
        same = before is not None and (before.spec, before.dtype) == (spec, load_plan.dtype)
        first_form = before.first_form if before is not None and same else plan.form.label
        avoided = _avoided(planning.candidates, killed, plan)
        if avoided:
            log.warning("%s: the kernel killed a worker under the memory plan %s; now %s", spec.id, avoided, plan.name)
        all_streamed = before is not None and same and before.all_streamed
        resident = 0 if all_streamed else resident_bytes(plan, planning.model, room)
        self._chosen[spec.id] = _Chosen(
            *(
                spec,
                load_plan.dtype,
                plan,
                planning.candidates,
                candidates,
                first_form,
                resident,
                all_streamed,
                avoided,
            ),
            beside=beside.bytes,
            for_auxiliaries=usual not in ("", plan.form.label),
        )
        self._settings.plan_history.begin(spec.id, plan.name)
        return dataclasses.replace(_with_plan(load_plan, plan, planning.model), resident_bytes=resident)

    def step_down(self, spec: ModelSpec, *, same_form_first: bool = False) -> bool:
        """Note that memory ran out under the plan chosen last; True if there is a smaller one for the next load. With
        `same_form_first` other placements, under which the model makes the same pictures, are preferred."""
        chosen = self._chosen.get(spec.id)
        if chosen is None or chosen.spec != spec or chosen.smaller:
            return False
        smaller = smaller_than(chosen.plan, chosen.candidates)
        if same_form_first:
            smaller.sort(key=lambda plan: plan.form != chosen.plan.form)
        if chosen.resident_bytes:
            smaller.insert(0, chosen.plan)
            chosen.all_streamed = True
        chosen.smaller = smaller
        return bool(smaller)

    def form_changed(self, spec: ModelSpec) -> bool:
        """Whether the form chosen last is another one than before memory ran out."""
        chosen = self._chosen.get(spec.id)
        return chosen is not None and chosen.first_form != chosen.plan.form.label

    def has_form_for_auxiliaries(self, spec: ModelSpec) -> bool:
        """Whether the weights have the form chosen last only to leave room for auxiliary models."""
        chosen = self._chosen.get(spec.id)
        return chosen is not None and chosen.spec == spec and chosen.for_auxiliaries

    def lacks_room_beside(self, spec: ModelSpec, beside: Beside, working_bytes: int) -> bool:
        """Whether the model on the device leaves no room for auxiliary models, under a plan that was chosen without
        them, and has a smaller one."""
        chosen = self._chosen.get(spec.id)
        if chosen is None or chosen.spec != spec or beside.bytes <= chosen.beside or not is_gpu(self._device):
            return False
        kept = self._model_cache.parts_of({spec.id, *beside.resident})
        room = free_bytes(self._device) + self._model_cache.reclaimable_bytes(kept)
        return beside.bytes + working_bytes > room and bool(smaller_than(chosen.plan, chosen.candidates))

    def killed_note(self, spec: ModelSpec) -> str:
        """A sentence about the plan that is avoided because the kernel killed a worker under it; empty if none is."""
        chosen = self._chosen.get(spec.id)
        if chosen is None or not chosen.killed:
            return ""
        return (
            f"The machine ran out of memory while it held {spec.id} as {chosen.killed}, so it is held as"
            f" {chosen.plan.label} now. The picture may differ if the weights have another form."
        )

    def forget(self, spec: ModelSpec) -> None:
        """Choose among all plans again."""
        self._chosen.pop(spec.id, None)

    def moved_to(self, spec: ModelSpec, placement: Plan) -> None:
        """Note that the loaded model was given another placement."""
        chosen = self._chosen.get(spec.id)
        if chosen is not None:
            form = chosen.plan.form
            same = (plan for plan in chosen.candidates if (plan.form, plan.placement) == (form, placement))
            chosen.plan = next(same, chosen.plan)

    def _planning(
        self,
        spec: ModelSpec,
        checkpoint: Checkpoint,
        load_plan: LoadPlan,
        here: Sequence[str],
        size: PictureSize,
        beside: int,
    ) -> Planning:
        pipeline_class = find_class(pipeline_class_name(spec, checkpoint))
        parts = part_shapes(checkpoint, load_plan, pipeline_class)
        packages = [name for name in (FOUR_BIT_PACKAGE,) if is_installed(name)]
        ordered = bool(getattr(pipeline_class, "model_cpu_offload_seq", None))
        asked, options = load_plan.compression, spec.options
        switch = options.quantization if options.quantization in ("auto", "none") else self._settings.quantization
        forms = possible_forms(
            parts,
            Machine(is_gpu(self._device), packages, ordered),
            asked.kinds,
            automatic=switch != "none" and not options.quantized_parts,
            cast_encoders=not checkpoint.is_single_file,
        )
        on_gpu = is_gpu(self._device)
        can_tile = not load_plan.tiles and hasattr(part_class(checkpoint.kinds.get("vae", "")), "enable_tiling")
        model = PlannedModel(
            *(parts, size, on_gpu, here),
            at_once=checkpoint.is_single_file,
            can_tile=can_tile,
            previews=self._settings.previews,
            beside=beside,
        )
        wish = options.offload or self._settings.offload
        candidates = plans(model, forms.usable, wish)
        if not candidates:
            raise impossible_wish(spec, wish, forms.usable)
        return Planning(model, forms, candidates, wish)

    def _remaining(self, spec: ModelSpec, dtype: torch.dtype, candidates: Sequence[MemoryPlan]) -> Sequence[MemoryPlan]:
        """`candidates` without those that ran out of memory in this process; all of them if `spec` changed since, or
        is loaded in another `dtype`."""
        chosen = self._chosen.get(spec.id)
        if chosen is None or (chosen.spec, chosen.dtype) != (spec, dtype):
            return candidates
        now = {plan.key: plan for plan in candidates}
        return [now[plan.key] for plan in chosen.smaller or chosen.allowed if plan.key in now] or candidates

    def _usual_form(self, spec: ModelSpec, dtype: torch.dtype, planning: Planning, room: Room) -> str:
        """The label of the form that the weights would have without auxiliary models."""
        alone = plans(dataclasses.replace(planning.model, beside=0), planning.forms.usable, planning.wish)
        allowed = smaller_than_killed(alone, self._settings.plan_history.killed(spec.id))
        return _first(self._remaining(spec, dtype, allowed), room).form.label

    def _reachable(self, held: set[int]) -> Room:
        cache = self._model_cache
        return Room(
            free_bytes(self._device) + cache.reclaimable_bytes(held), free_bytes(_CPU) + cache.reclaimable_ram()
        )

    def _make_room(self, spec: ModelSpec, plan: MemoryPlan, held: set[int], beside: Collection[str]) -> Room:
        device = self._model_cache.make_room(spec.id, plan.device.highest, held, beside=beside)
        if not is_gpu(self._device):
            return Room(device, device)
        return Room(device, self._model_cache.make_ram_room(spec.id, plan.ram.highest))


def _with_plan(load_plan: LoadPlan, plan: MemoryPlan, model: PlannedModel) -> LoadPlan:
    """`load_plan` with the form and placement of `plan`, and the order in which the parts are loaded."""
    return dataclasses.replace(
        load_plan,
        plan=plan.placement,
        pinned=plan.pinned,
        tiles=load_plan.tiles or plan.tiled,
        form=plan.form.label,
        order=tuple(part.name for part in loading_order(model.parts, plan.form)),
        needed_bytes=plan.device.highest,
        working_bytes=highest_working_bytes(model, plan.form, tiled=plan.tiled),
        compression=_compression(load_plan.compression, plan),
    )


def _compression(asked: Compression, plan: MemoryPlan) -> Compression:
    kinds = plan.form.kinds
    quantised = tuple(part for part, kind in kinds.items() if kind not in ("float8", "gguf"))
    method = next((kinds[part] for part in quantised), "")
    cast = tuple(part for part, kind in kinds.items() if kind == "float8")
    return dataclasses.replace(asked, method=method, parts=quantised, cast=cast)


def _avoided(candidates: Sequence[MemoryPlan], killed: Collection[str], chosen: MemoryPlan) -> str:
    """The label of the first of `candidates` that was killed, unless it had to be chosen again."""
    return next((plan.label for plan in candidates if plan.name in killed and plan.name != chosen.name), "")


def _first(candidates: Sequence[MemoryPlan], room: Room) -> MemoryPlan:
    return choose(candidates, room) or closest(candidates, room)


def _estimates(candidates: Sequence[MemoryPlan], room: Room) -> str:
    needed = ", ".join(
        f"{plan.label} {gigabytes(plan.device.highest)} + {gigabytes(plan.ram.highest)}" for plan in candidates
    )
    return f"{gigabytes(room.device)} and main memory of {gigabytes(room.ram)} free (needed: {needed})"
