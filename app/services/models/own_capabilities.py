"""What a worker on this machine can run, read from its disk and its settings. Asks no torch, loads no model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.core.catalog import REMOTE_SOURCES, Lane, ModelSpec
from app.core.fit import DrawingDevice, PlanSettings, fit_of
from app.core.worker_capabilities import Capabilities
from app.errors import EmbeddingUnavailable
from app.files import embeddings as embedding_files
from app.monitoring.resources import ram_bytes
from app.services.context import AppContext
from app.services.models.auxiliaries import known_auxiliary
from app.services.models.capabilities import pipeline_class_of
from app.services.models.fits import installed_packages, parts_of
from app.services.models.loras import families
from app.services.models.model_files import is_here, may_download
from app.services.models.upscalers import is_available


@dataclass(frozen=True)
class DeviceFacts:
    """A worker's device: its kind in reports, and as far as its driver tells its name, memory in bytes and compute
    capability. `large_models`: False for a CPU that was not asked for."""

    kind: str = "cpu"
    name: str = ""
    memory_bytes: int = 0
    compute_capability: str = ""
    large_models: bool = True


def own_capabilities(context: AppContext, lane: Lane, device: DeviceFacts = DeviceFacts()) -> Capabilities:
    """What a worker of `lane` can run here. Raises OSError if a folder cannot be read."""
    if lane == "remote":
        return _remote(context)
    settings, specs = context.settings, [spec for spec in context.catalog.everything if spec.lane == "local"]
    here = {spec.id for spec in specs if _is_here(context, spec)}
    pipelines = {
        spec.id: name for spec in context.catalog if spec.id in here and (name := pipeline_class_of(context, spec))
    }
    return Capabilities(
        lane=lane,
        here=frozenset(here),
        loadable=frozenset(spec.id for spec in specs if spec.id not in here and _may_download(context, spec)),
        tight=frozenset(_tight(context, device)),
        pipelines=pipelines,
        loras=families(context),
        hub_loras=settings.lora_hub,
        embeddings=_embeddings(context),
        detectors=frozenset(_detectors(context, here)),
        device=device.kind,
        device_name=device.name,
        device_bytes=device.memory_bytes,
        ram_bytes=ram_bytes(),
        compute_capability=device.compute_capability,
        large_models=device.large_models,
    )


def _remote(context: AppContext) -> Capabilities:
    able = frozenset(source for source in REMOTE_SOURCES if context.settings.has_key_for(source))
    models = frozenset(spec.id for spec in context.catalog if spec.source in able)
    return Capabilities(lane="remote", here=models, sources=able, device="remote", ram_bytes=ram_bytes())


def _is_here(context: AppContext, spec: ModelSpec) -> bool:
    if spec.is_upscaler:
        return is_available(context, spec)
    return known_auxiliary(context, spec).available if spec.is_auxiliary else is_here(context, spec)


def _may_download(context: AppContext, spec: ModelSpec) -> bool:
    if spec.options.kind is None:
        return may_download(context, spec)
    return spec.source == "huggingface"


def _tight(context: AppContext, device: DeviceFacts) -> Iterable[str]:
    """The models that seem to exceed the memory of the device; none of a GPU that nothing is known of."""
    if device.kind != "cpu" and not device.memory_bytes:
        return
    drawing = DrawingDevice(ram_bytes(), device.memory_bytes, device.large_models, installed_packages())
    wish = PlanSettings(context.settings.offload, context.settings.quantization)
    for spec in context.catalog:
        if spec.lane == "local" and fit_of(spec, parts_of(context, spec), [drawing], wish).answer == "no":
            yield spec.id


def _embeddings(context: AppContext) -> Mapping[str, Mapping[str, int]]:
    found: dict[str, Mapping[str, int]] = {}
    for name, path in embedding_files.names(context.settings.embeddings_folder).items():
        try:
            found[name] = dict(embedding_files.inspect(path).widths)
        except EmbeddingUnavailable:
            continue  # damaged
    return found


def _detectors(context: AppContext, here: set[str]) -> Iterable[str]:
    """The processors whose models are here or may be downloaded; with a line of one whose files are missing, none."""
    by_processor: dict[str, list[bool]] = {}
    for spec in context.catalog.auxiliaries.values():
        if spec.options.detects is not None:
            by_processor.setdefault(spec.options.detects, []).append(spec.id in here or _may_download(context, spec))
    return (processor for processor, able in by_processor.items() if all(able))
