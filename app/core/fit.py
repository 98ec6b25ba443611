"""Whether a model fits a machine that does nothing else: the memory plan that would be chosen, or what is lacking.

Pure: sizes in bytes. An estimate, made before a load looks at the memory that is really free.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from app.core.catalog import ModelSpec
from app.core.memory_forms import FOUR_BIT_PACKAGE, Machine, possible_forms
from app.core.memory_parts import STORED_BYTES, Kind, PartShape, PictureSize
from app.core.memory_plan import MemoryPlan, Offload, PlannedModel, Room, choose, closest, plans

Answer = Literal["yes", "no", "unknown"]

MOST_WEIGHTS_ON_CPU = (
    4_000_000_000  # that are drawn in minutes: SDXL has 3.5 billion, FLUX.1 and SD 3.5 three times that
)
_CARD_USABLE, _CARD_TAKEN = 0.985, 700_000_000  # by the driver, and by the context of the worker
_RAM_TAKEN = 3_000_000_000  # by the system, the API and the worker itself
_USUAL_SIDE = 1024  # pixels, of a model without a default size


@dataclass(frozen=True)
class DrawingDevice:
    """What a worker draws with: a GPU of `gpu_bytes`, 0 for a CPU, and main memory of `ram_bytes`. `large_models`: a
    CPU that was asked for runs those too that take it hours. `packages`: installed ones that `memory_forms` asks for.
    """

    ram_bytes: int
    gpu_bytes: int = 0
    large_models: bool = True
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlanSettings:
    """OFFLOAD and QUANTIZATION, for models whose line says nothing."""

    offload: Offload = "auto"
    quantization: Literal["auto", "none"] = "auto"


@dataclass(frozen=True)
class Fit:
    """`plan` is the label of the plan that fits, `reason` a sentence why none does or why that is not known."""

    answer: Answer
    plan: str | None = None
    reason: str = ""


UNKNOWN_DEVICE = Fit("unknown", reason="The memory of the workers' devices is not known here.")
UNKNOWN_SIZE = Fit("unknown", reason="How large it is shows when it is downloaded.")


def fit_of(
    spec: ModelSpec,
    parts: Sequence[PartShape] | None,
    devices: Collection[DrawingDevice | None],
    settings: PlanSettings = PlanSettings(),
    beside: int = 0,
) -> Fit:
    """The best answer of `devices`, of which None are those that nothing is known of. `parts` is None for a model of
    unknown size. `beside`: numbers of weights of the auxiliary models that a request brings."""
    if spec.lane == "remote":
        return Fit("yes")
    if parts is None or spec.is_gguf or spec.options.gguf:
        return UNKNOWN_SIZE
    answers = [UNKNOWN_DEVICE if each is None else _on(each, spec, parts, settings, beside) for each in devices]
    order: dict[Answer, int] = {"yes": 0, "unknown": 1, "no": 2}
    return min(answers, key=lambda fit: order[fit.answer], default=UNKNOWN_DEVICE)


def room(gpu_bytes: int, ram_bytes: int) -> Room:
    """What is free on a GPU and in main memory that nothing else uses."""
    return Room(int(gpu_bytes * _CARD_USABLE) - _CARD_TAKEN, ram_bytes - _RAM_TAKEN)


def default_size(spec: ModelSpec) -> PictureSize:
    """What a request without a size draws."""
    usual = spec.defaults
    frames = (usual.num_frames or 1) if spec.media == "video" else 1
    return PictureSize(usual.width or _USUAL_SIDE, usual.height or _USUAL_SIDE, frames)


@dataclass(frozen=True)
class _Wanted:
    """What a model's plans depend on beside its parts: the size drawn, the kinds that its line asks for, whether
    smaller forms may be chosen, the placement, and the bytes of auxiliary models."""

    size: PictureSize
    asked: tuple[tuple[str, Kind], ...]
    automatic: bool
    offload: Offload
    beside: int


def _on(device: DrawingDevice, spec: ModelSpec, parts: Sequence[PartShape], settings: PlanSettings, beside: int) -> Fit:
    options, wide = spec.options, spec.options.dtype == "float32" or not device.gpu_bytes
    sized = [replace(part, item=4, mapped=part.item == 4) for part in parts] if wide else parts
    wanted = _Wanted(
        default_size(spec),
        tuple(_asked(spec, parts).items()),
        (options.quantization or settings.quantization) != "none",
        options.offload or settings.offload,
        beside * (4 if wide else 2),
    )
    return _fit(device, tuple(sized), wanted)


@lru_cache(maxsize=2048)  # a list of models is asked for again and again
def _fit(device: DrawingDevice, parts: tuple[PartShape, ...], wanted: _Wanted) -> Fit:
    numbers, on_gpu = sum(part.numbers for part in parts), device.gpu_bytes > 0
    if not on_gpu and not device.large_models and numbers > MOST_WEIGHTS_ON_CPU:
        return Fit("no", reason=f"It needs a GPU: a CPU would take hours for its {numbers / 1e9:.0f} billion weights.")
    model = PlannedModel(parts, wanted.size, on_gpu, can_tile=True, previews=True, beside=wanted.beside)
    free = room(device.gpu_bytes, device.ram_bytes)
    free = free if on_gpu else Room(free.ram, free.ram)
    candidates = _plans(model, wanted, device.packages)
    if (found := choose(candidates, free)) is not None:
        return Fit("yes", found.label)
    if not candidates:
        return Fit("no", reason="Its weights cannot be placed as OFFLOAD asks.")
    lacking = _lacking(closest(candidates, free), free, on_gpu)
    smaller = choose(_plans(model, wanted, (FOUR_BIT_PACKAGE,)), free) if on_gpu else None
    return Fit("no", reason=lacking + (f" With the package {FOUR_BIT_PACKAGE} it would fit." if smaller else ""))


def _plans(model: PlannedModel, wanted: _Wanted, packages: tuple[str, ...]) -> Sequence[MemoryPlan]:
    forms = possible_forms(model.parts, Machine(model.on_gpu, packages), dict(wanted.asked), automatic=wanted.automatic)
    return plans(model, forms.usable, wanted.offload)


def _asked(spec: ModelSpec, parts: Sequence[PartShape]) -> Mapping[str, Kind]:
    """The kinds that the catalogue line asks for, by part."""
    options = spec.options
    denoisers = [part.name for part in parts if part.is_denoiser]
    if options.layerwise_casting:
        return dict.fromkeys(denoisers, "float8")
    kind = next((kind for kind in STORED_BYTES if kind == options.quantization), None)
    return {} if kind is None else dict.fromkeys(options.quantized_parts or denoisers, kind)


def _lacking(plan: MemoryPlan, free: Room, on_gpu: bool) -> str:
    needed, here, where = plan.device.highest, free.device, "on the GPU" if on_gpu else "of main memory"
    if needed <= here:
        needed, here, where = plan.ram.highest, free.ram, "of main memory"
    return f"It needs {needed / 1e9:.0f} GB {where}; {max(0, here) / 1e9:.0f} GB are free for models here."
