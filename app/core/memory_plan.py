"""Chooses the memory plan of a model: the form of its weights, and where they are while it runs on a GPU.

Pure: sizes in bytes, no GPU access. The placements, from the fastest to the smallest:

    none        all weights are on the GPU
    model       each part (text encoders, denoiser, VAE) is moved to the GPU when it runs
    group       two blocks of the denoiser at a time and those that have room, one layer of everything else
    sequential  one layer at a time

A plan fits if its peaks, at loading and at drawing, are within the free memory of the GPU and the free main memory.
The plans have a fixed order that no amount of memory changes, and the first that fits is chosen: more memory never
chooses a slower one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from app.core.memory_parts import Kind, PartShape, PictureSize, tiles_help, working_bytes

Plan = Literal["none", "model", "group", "sequential"]
Offload = Literal["auto", "none", "model", "group", "sequential"]

PLANS: tuple[Plan, ...] = get_args(Plan)
_FITTING_WELL: tuple[Plan, ...] = ("none", "model")
_MARGIN = 1.05  # of weights: buffers, alignment, fragmentation
_PINNED_MARGIN = 1.55  # torch rounds page-locked memory up to powers of two, tensor by tensor
_HOST_WORKING_BYTES = 500_000_000  # main memory beside the weights: buffers for copies, the picture itself
_USUAL_SIZE = PictureSize()
CPU_WORKING_BYTES = 256_000_000  # on a CPU worker


@dataclass(frozen=True)
class Form:
    """How the weights of a model are stored: the kind of each part, `full` (16 or 32 bit) for those that are absent.
    Only the placements in `possible` work with it. `label` names it in listings."""

    label: str
    possible: Sequence[Plan] = PLANS
    kinds: Mapping[str, Kind] = field(default_factory=dict)

    def of(self, part: PartShape) -> Kind:
        return self.kinds.get(part.name, "full")


@dataclass(frozen=True)
class Peaks:
    """Highest use of one memory in bytes, while the model is loaded and while it draws."""

    loading: int
    drawing: int

    @property
    def highest(self) -> int:
        return max(self.loading, self.drawing)


@dataclass(frozen=True)
class Room:
    """Memory in bytes that is free or can be freed: on the device and, beside a GPU, in main memory (swap and what is
    beyond the container's limit not counted). On a CPU worker the device is main memory."""

    device: int
    ram: int


@dataclass(frozen=True)
class MemoryPlan:
    """A form and a placement with the peaks of both memories. `pinned`: group offloading keeps page-locked copies,
    which are faster to move and larger; `tiled`: the VAE works in tiles."""

    form: Form
    placement: Plan
    device: Peaks
    ram: Peaks
    pinned: bool = False
    tiled: bool = False

    @property
    def label(self) -> str:
        """Form and placement, such as `float8, model`."""
        return f"{self.form.label}, {self.placement}{', VAE in tiles' if self.tiled else ''}"

    @property
    def name(self) -> str:
        """The label, and whether copies are page-locked: unique among the plans of a model."""
        return f"{self.label}{', page-locked' if self.pinned else ''}"

    @property
    def main_memory(self) -> int:
        """Peak in main memory, which on a CPU worker is the device."""
        return self.ram.highest or self.device.highest

    @property
    def key(self) -> tuple[str, Plan, bool, bool]:
        """What distinguishes it among the plans of a model."""
        return self.form.label, self.placement, self.pinned, self.tiled

    def fits(self, room: Room) -> bool:
        return self.device.highest <= room.device and self.ram.highest <= room.ram


@dataclass(frozen=True)
class PlannedModel:
    """What the plans depend on: parts, the size to draw, whether the device is a GPU, and the parts `shared` with
    models on the device already, as long as they are loaded in full and not moved. `at_once`: a single file, all of
    whose parts are loaded before any is made smaller or moved. `can_tile`: its VAE can work in tiles. `previews` are
    decoded while the denoiser runs. `beside`: bytes of the auxiliary models of a request (ControlNets, adapters, their
    image encoders, detectors), which are on the device while it draws, whatever the placement."""

    parts: Sequence[PartShape]
    size: PictureSize = _USUAL_SIZE
    on_gpu: bool = True
    shared: Collection[str] = ()
    at_once: bool = False
    can_tile: bool = False
    previews: bool = False
    beside: int = 0

    @property
    def beside_bytes(self) -> int:
        return int(self.beside * _MARGIN)


def plans(model: PlannedModel, forms: Iterable[Form], wish: Offload = "auto") -> list[MemoryPlan]:
    """All plans in the order in which they are tried. `forms` are in order of quality, the best first.

    With `auto`: the forms with placement `none` or `model`; then group by group and layer by layer, where the form with
    the fewest bytes to move is the fastest. With a wish only that placement; empty when no form can have it. A VAE
    works in tiles, which may leave faint seams, only where nothing fits without.
    """
    forms = list(forms)
    order: list[tuple[Form, Plan, bool]]
    if wish != "auto" or not model.on_gpu:
        wanted: Plan = wish if model.on_gpu and wish != "auto" else "none"
        order = [(form, wanted, pinned) for form in forms for pinned in _pinned(wanted)]
    else:
        light = sorted(forms, key=lambda form: _moved_bytes(model, form))
        order = [
            *((form, placement, False) for form in forms for placement in _FITTING_WELL),
            *((form, "group", pinned) for pinned in _pinned("group") for form in light),
            *((form, "sequential", False) for form in light),
        ]
    return [
        _plan(model, form, placement, pinned, tiled)
        for tiled in ((False, True) if model.on_gpu and model.can_tile and tiles_help(model.size) else (False,))
        for form, placement, pinned in order
        if placement in form.possible
    ]


def choose(candidates: Iterable[MemoryPlan], room: Room) -> MemoryPlan | None:
    """The first plan that fits; None if none does."""
    return next((plan for plan in candidates if plan.fits(room)), None)


def resident_bytes(plan: MemoryPlan, model: PlannedModel, room: Room) -> int:
    """Bytes of the denoiser's blocks that may stay on the GPU under `group`, so that only the others are copied at
    every step: what is free beyond the plan's peak. The working memory is left free once more, since it is an estimate,
    and running out costs a picture more than a few blocks."""
    if plan.placement != "group" or not model.on_gpu:
        return 0
    spare = room.device - plan.device.highest - highest_working_bytes(model, plan.form, tiled=plan.tiled)
    return max(0, int(spare / _MARGIN))


def smaller_than(plan: MemoryPlan, candidates: Iterable[MemoryPlan]) -> list[MemoryPlan]:
    """Those after `plan` in `candidates` that take less memory: the ones to try when it ran out of memory."""
    rest = list(candidates)
    places = [other.key for other in rest]
    after = rest[places.index(plan.key) + 1 :] if plan.key in places else rest
    return [other for other in after if _takes_less(other, plan)]


def smaller_than_killed(candidates: Sequence[MemoryPlan], killed: Collection[str]) -> Sequence[MemoryPlan]:
    """`candidates`, those first that take less main memory than each one named in `killed`, under which the kernel
    ended a worker for lack of it. The others follow, from the least main memory on: what is smaller may not fit the
    GPU, and other programs may have taken the memory that was missing."""
    ended = [plan.main_memory for plan in candidates if plan.name in killed]
    if not ended:
        return candidates
    smaller = [plan for plan in candidates if plan.main_memory < min(ended)]
    rest = [plan for plan in candidates if plan.main_memory >= min(ended)]
    return [*smaller, *sorted(rest, key=lambda plan: plan.main_memory)]


def closest(candidates: Sequence[MemoryPlan], room: Room) -> MemoryPlan:
    """The plan that lacks the least memory."""
    return min(candidates, key=lambda plan: _lacking(plan.device, room.device) + _lacking(plan.ram, room.ram))


def _lacking(peaks: Peaks, free: int) -> int:
    return max(0, peaks.highest - free)


def _takes_less(one: MemoryPlan, other: MemoryPlan) -> bool:
    """By the estimate; or by the placement, if the estimate of both is that of a part that is no larger in one."""
    if one.device.highest != other.device.highest:
        return one.device.highest < other.device.highest
    return one.ram.highest < other.ram.highest or PLANS.index(one.placement) > PLANS.index(other.placement)


def _pinned(placement: Plan) -> tuple[bool, ...]:
    return (True, False) if placement == "group" else (False,)


def _moved_bytes(model: PlannedModel, form: Form) -> int:
    return sum(part.bytes_of(form.of(part)) for part in model.parts if part.is_denoiser)


def _plan(model: PlannedModel, form: Form, placement: Plan, pinned: bool, tiled: bool) -> MemoryPlan:
    if not model.on_gpu:
        device = Peaks(
            _loaded_into_ram(model, form),
            int(_all_bytes(model, form) * _MARGIN) + highest_working_bytes(model, form) + model.beside_bytes,
        )
        return MemoryPlan(form, placement, device, Peaks(0, 0))
    drawing = _on_gpu(model, form, placement, tiled) + model.beside_bytes
    device = Peaks(_loading_on_gpu(model, form, placement), drawing)
    ram = _in_ram(model, form, placement, pinned)
    ram = Peaks(ram.loading, ram.drawing + model.beside)  # auxiliary models pass through it
    return MemoryPlan(form, placement, device, ram, pinned, tiled)


def highest_working_bytes(model: PlannedModel, form: Form, *, tiled: bool = False) -> int:
    """Memory that drawing takes beside the weights."""
    if not model.on_gpu:
        return CPU_WORKING_BYTES
    return max((working_bytes(part, form.of(part), model.size, tiled=tiled) for part in model.parts), default=0)


def _on_gpu(model: PlannedModel, form: Form, placement: Plan, tiled: bool) -> int:
    """Memory on the GPU while it draws: the weights that are there together, and the working memory of the part that
    runs."""
    if placement == "none":
        return int(_all_bytes(model, form) * _MARGIN) + highest_working_bytes(model, form, tiled=tiled)
    kinds = [(part, form.of(part)) for part in model.parts]
    vaes = sum(part.bytes_of(kind) for part, kind in kinds if part.name.startswith("vae"))
    beside = vaes if model.previews and placement == "model" else 0  # it stays there from the first preview on
    return max(
        (
            int((_present(part, kind, placement) + (beside if part.is_denoiser else 0)) * _MARGIN)
            + working_bytes(part, kind, model.size, tiled=tiled)
            for part, kind in kinds
        ),
        default=0,
    )


def _present(part: PartShape, kind: Kind, placement: Plan) -> int:
    """Bytes of the weights of a running part that are on the GPU at the same time."""
    if placement == "model":
        return part.bytes_of(kind)
    if placement == "group" and part.is_denoiser:
        return part.share(part.outside + part.blocks, kind)
    return part.share(part.layer, kind)


def _loading_on_gpu(model: PlannedModel, form: Form, placement: Plan) -> int:
    """bitsandbytes quantises on the GPU, whatever the placement."""
    if placement == "none":
        return int(_all_bytes(model, form) * _MARGIN)
    quantised = [part for part in model.parts if form.of(part).startswith("bitsandbytes")]
    return int(sum(part.bytes_of(form.of(part)) for part in quantised) * _MARGIN)


def _in_ram(model: PlannedModel, form: Form, placement: Plan, pinned: bool) -> Peaks:
    if placement == "none":
        loading = max((part.passing_bytes(form.of(part)) for part in model.parts), default=0)
        loading = _loaded_into_ram(model, form) if model.at_once else loading
        return Peaks(loading + _HOST_WORKING_BYTES, _HOST_WORKING_BYTES)
    loading, kept = _loaded_into_ram(model, form), sum(part.bytes_of(form.of(part)) for part in model.parts)
    if pinned:
        locked = int(_moved_bytes(model, form) * _PINNED_MARGIN)
        resting = sum(part.resting_bytes(form.of(part)) for part in model.parts)
        loading = max(loading, resting + locked)  # the copies are made while the originals are there
        kept += locked - _moved_bytes(model, form)
    return Peaks(loading + _HOST_WORKING_BYTES, kept + _HOST_WORKING_BYTES)


def _loaded_into_ram(model: PlannedModel, form: Form) -> int:
    """Peak of main memory while the parts are loaded one after another (`loading_order`) and stay there."""
    if model.at_once:
        return sum(part.loading_bytes("full") for part in model.parts)
    peak = there = 0
    for part in loading_order(model.parts, form):
        if part.name in model.shared and form.of(part) == "full":
            continue
        peak = max(peak, there + part.loading_bytes(form.of(part)))
        there += part.resting_bytes(form.of(part))
    return max(peak, there)


def loading_order(parts: Iterable[PartShape], form: Form) -> list[PartShape]:
    """The part that takes the most to load comes first, when nothing else is there yet."""
    return sorted(parts, key=lambda part: part.loading_bytes(form.of(part)), reverse=True)


def _all_bytes(model: PlannedModel, form: Form) -> int:
    kinds = [(part, form.of(part)) for part in model.parts]
    return sum(part.bytes_of(kind) for part, kind in kinds if kind != "full" or part.name not in model.shared)
