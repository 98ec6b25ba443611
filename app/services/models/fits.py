"""Whether each model fits the devices that draw: those of the live workers, as far as their memory is known here or
reported, or without workers those of this machine. Neither torch nor a worker is asked.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from app.config import Settings
from app.core.catalog import ModelSpec
from app.core.fit import UNKNOWN_SIZE, DrawingDevice, Fit, PlanSettings, fit_of
from app.core.memory_forms import FOUR_BIT_PACKAGE
from app.core.memory_parts import PartShape
from app.core.memory_shapes import known_model
from app.core.visible_devices import HIDDEN
from app.core.worker_capabilities import Capabilities
from app.files import hub_cache
from app.monitoring.resources import Gpu, gpus, ram_bytes
from app.services.context import AppContext
from app.services.models.auxiliaries import KnownAuxiliary

_WEIGHTS = "*.safetensors"


def fits(context: AppContext, specs: Iterable[ModelSpec], workers: Collection[Mapping[str, Any]]) -> dict[str, Fit]:
    """For each of `specs`, by id. `workers` are the rows of the live ones, with their reports as `can_run`."""
    found = devices(context.settings, workers)
    wish = PlanSettings(context.settings.offload, context.settings.quantization)
    return {spec.id: fit_of(spec, parts_of(context, spec), found, wish) for spec in specs}


def fits_beside(
    context: AppContext,
    spec: ModelSpec,
    auxiliaries: Iterable[KnownAuxiliary],
    workers: Collection[Mapping[str, Any]],
) -> dict[str, Fit]:
    """Whether `spec` fits together with each of these auxiliary models, by their ids."""
    found = devices(context.settings, workers)
    wish = PlanSettings(context.settings.offload, context.settings.quantization)
    parts = parts_of(context, spec)

    def fit(numbers: int) -> Fit:
        return fit_of(spec, parts, found, wish, numbers) if numbers else UNKNOWN_SIZE

    return {each.spec.id: fit(each.files.numbers if each.files is not None else 0) for each in auxiliaries}


def devices(settings: Settings, workers: Iterable[Mapping[str, Any]]) -> set[DrawingDevice | None]:
    """What the local ones of `workers` draw with, None for one whose memory is not known here; without any, what a
    worker on this machine would."""
    local = [worker for worker in workers if worker["lane"] == "local"]
    cards = list(gpus()) if settings.device != "cpu" else []
    if local:
        return {_of_worker(worker, settings, cards) for worker in local}
    hidden = settings.cuda_visible_devices == HIDDEN or settings.device == "cpu"
    if settings.device in ("mps", "xpu"):
        return {None}
    return {_gpu(card) for card in cards} if cards and not hidden else {_cpu(settings)}


def parts_of(context: AppContext, spec: ModelSpec) -> Sequence[PartShape] | None:
    """The parts of a model by its repository or, roughly, by the sizes of its files here; None while neither is
    known."""
    known = known_model(spec.options.base or spec.repo)
    if known is not None:
        return known.parts
    for folder in _folders(context, spec):
        sizes = tuple(sorted((file, file.stat().st_size) for file in folder.glob(f"*/{_WEIGHTS}")))
        if sizes:
            return _roughly(sizes)
    return None


def _folders(context: AppContext, spec: ModelSpec) -> list[Path]:
    if spec.source == "huggingface":
        return hub_cache.snapshots(context.settings.hub_cache, spec.repo)
    return [context.settings.local_path(spec.repo)] if spec.source == "local" else []


@lru_cache(maxsize=256)
def _roughly(files: tuple[tuple[Path, int], ...]) -> tuple[PartShape, ...]:
    """Parts whose files hold 16 bit numbers, nearly all of them in layers that are alike."""
    sizes: dict[str, int] = {}
    for file, size in files:
        sizes[file.parent.name] = sizes.get(file.parent.name, 0) + size // 2
    return tuple(
        PartShape(name, count, count, blocks=count // 12, outside=count // 20, layer=count // 20)
        for name, count in sizes.items()
    )


def _of_worker(worker: Mapping[str, Any], settings: Settings, cards: Sequence[Gpu]) -> DrawingDevice | None:
    if worker["host"] != platform.node():
        return _of_report(worker.get("can_run"))
    if worker["device"] == "cpu":
        return _cpu(settings)
    name = str(worker["device_id"]).partition(":")[2]
    card = next((card for card in cards if name and (name == str(card.index) or card.uuid.startswith(name))), None)
    return None if card is None else _gpu(card)


def _of_report(can: Capabilities | None) -> DrawingDevice | None:
    """The device of a worker on another host, as it reports it."""
    if can is None or not can.ram_bytes or (can.device != "cpu" and not can.device_bytes):
        return None
    return DrawingDevice(can.ram_bytes, can.device_bytes, can.large_models)


def _cpu(settings: Settings) -> DrawingDevice:
    return DrawingDevice(ram_bytes(), large_models=settings.device == "cpu")


def _gpu(card: Gpu) -> DrawingDevice:
    return DrawingDevice(ram_bytes(), card.memory_bytes, packages=installed_packages())


def installed_packages() -> tuple[str, ...]:
    """Those packages here that `memory_forms` asks for."""
    return (FOUR_BIT_PACKAGE,) if find_spec(FOUR_BIT_PACKAGE) is not None else ()
