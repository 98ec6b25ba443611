"""Loads a model into memory: locates its files, makes its load plan, frees memory, builds the pipeline.

Only the order of the steps is decided here; each decision is made by the module of its subject.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import torch

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.core.memory_use import MemoryChange
from app.core.request import GenerationRequest
from app.core.videos import with_family
from app.engines.base import Control, EngineSettings
from app.engines.diffusers.auxiliary_loader import AuxiliaryLoader
from app.engines.diffusers.load.attention import apply_attention, choose_attention
from app.engines.diffusers.load.build import build_pipeline, pipeline_class_name
from app.engines.diffusers.load.checkpoint import Checkpoint
from app.engines.diffusers.load.cpu_limits import require_runnable
from app.engines.diffusers.load.digests import Digests
from app.engines.diffusers.load.errors import log
from app.engines.diffusers.load.group_offload import resident_bytes_of
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.precision import choose_dtype, dtype_name, exact_parts
from app.engines.diffusers.load.preview_vae import load_preview_vae
from app.engines.diffusers.load.quantization import choose_compression
from app.engines.diffusers.load.sources import locate
from app.engines.diffusers.loras.cache import LoraCache
from app.engines.diffusers.memory.loaded import LoadedModel
from app.engines.diffusers.memory.memory import gigabytes, memory_use, part_bytes, picture_size
from app.engines.diffusers.memory.model_cache import ModelCache
from app.engines.diffusers.memory.planner import MemoryPlanner
from app.engines.diffusers.memory.prompt_cache import PromptCache
from app.engines.diffusers.memory.shared_parts import PartRecord, find_shared, part_records
from app.engines.diffusers.speed.acceleration import accelerate, wants_channels_last
from app.errors import Cancelled

_DIGESTS = ".part-digests.json"  # in MODEL_CACHE_DIR


class Loader:
    """Loads models for one device into `model_cache`."""

    def __init__(
        self,
        settings: EngineSettings,
        device: torch.device,
        model_cache: ModelCache,
        auxiliaries: AuxiliaryLoader | None = None,
    ) -> None:
        self._auxiliaries = auxiliaries or AuxiliaryLoader(settings, device, model_cache)
        self._settings = settings
        self._device = device
        self._model_cache = model_cache
        self.planner = MemoryPlanner(settings, device, model_cache)
        self._digests = Digests(settings.model_cache_dir / _DIGESTS)

    def load(
        self,
        spec: ModelSpec,
        control: Control,
        dtype: torch.dtype | None = None,
        request: GenerationRequest | None = None,
    ) -> None:
        """Load `spec` in `dtype`, or the configured one, with room for the size of `request` and for its auxiliary
        models. Raises what its steps raise, and Cancelled."""
        started, before = time.perf_counter(), memory_use(self._device)
        control.report(Phase.LOADING)
        checkpoint = locate(spec, self._settings, control)
        require_runnable(spec, checkpoint, self._settings)
        control.report(Phase.LOADING)
        _stop_if_cancelled(control)
        load_plan, records, shared = self._plan(spec, checkpoint, dtype, request, control)
        _stop_if_cancelled(control)
        pipeline = build_pipeline(spec, checkpoint, load_plan, shared)
        attention = apply_attention(pipeline, load_plan.attention, self._device, load_plan.dtype)
        resident = resident_bytes_of(pipeline) if load_plan.resident_bytes else 0
        load_plan = dataclasses.replace(load_plan, attention=attention, resident_bytes=resident)
        acceleration = accelerate(pipeline, spec, self._settings, load_plan)
        most, most_bytes = self._settings.lora_cache_max, self._settings.lora_cache_bytes
        quantized = load_plan.compression.quantized
        model = LoadedModel(
            spec=spec,
            checkpoint=checkpoint,
            pipeline=pipeline,
            load_plan=load_plan,
            part_bytes=part_bytes(pipeline),
            loras=LoraCache(pipeline, spec.id, most=most, most_bytes=most_bytes, quantized=quantized),
            prompts=PromptCache(self._settings.prompt_cache_bytes),
            needed_bytes=load_plan.needed_bytes + resident,
            records=records,
            preview_vae=load_preview_vae(spec, self._settings, self._device, load_plan.dtype),
            acceleration=acceleration,
        )
        self._model_cache.add(model)
        log.info(
            "%s: loaded %s on %s in %.1f s, %s, %s, attention %s, %s, offload %s, revision %s%s%s%s; %s",
            *(spec.id, type(pipeline).__name__, self._device, time.perf_counter() - started, gigabytes(model.size)),
            *(dtype_name(model.dtype), model.attention, load_plan.form, load_plan.plan, checkpoint.revision),
            f", {load_plan.compression.description}" if load_plan.compression.description else "",
            f", {acceleration.description}" if acceleration.description else "",
            f", shared with others: {', '.join(shared)}" if shared else "",
            MemoryChange(before, memory_use(self._device)),
        )
        _stop_if_cancelled(control)

    def lacks_room(self, model: LoadedModel, request: GenerationRequest, control: Control) -> bool:
        """Whether `model` has to be loaded again under a smaller plan, for the auxiliary models of `request`."""
        beside = self._auxiliaries.beside(request, model.dtype, control)
        return self.planner.lacks_room_beside(model.spec, beside, model.load_plan.working_bytes)

    def restore(self, spec: ModelSpec, control: Control, request: GenerationRequest | None = None) -> bool:
        """Move `spec` from the RAM cache back to the device, with room for the auxiliary models of `request`; True if
        it is resident now."""
        started, before = time.perf_counter(), memory_use(self._device)
        model = self._model_cache.pop_parked(spec)
        if model is None:
            return False
        control.report(Phase.LOADING)
        needed = self._model_cache.missing_bytes(model.weights.items())
        beside = self._auxiliaries.beside(request, model.dtype, control)
        needed += model.load_plan.working_bytes + beside.bytes
        if self._model_cache.make_room(spec.id, needed, held=model.weights, beside=beside.resident) < needed:
            log.info("%s: not enough memory to restore it as it was; loading it again", spec.id)
            return False
        model.move(self._device)
        self._model_cache.add(model)
        change = MemoryChange(before, memory_use(self._device))
        log.info("%s: back on %s in %.1f s; %s", spec.id, self._device, time.perf_counter() - started, change)
        return True

    def _plan(
        self,
        spec: ModelSpec,
        checkpoint: Checkpoint,
        dtype: torch.dtype | None,
        request: GenerationRequest | None,
        control: Control,
    ) -> tuple[LoadPlan, Mapping[str, PartRecord], Mapping[str, Any]]:
        """The load plan, the records of the parts under it, and the parts shared with models in memory."""
        wished = self._load_plan(spec, checkpoint, dtype)
        size = picture_size(with_family(spec, pipeline_class_name(spec, checkpoint)), request)
        beside = self._auxiliaries.beside(request, wished.dtype, control)
        load_plan = self.planner.choose(spec, checkpoint, wished, self._shared(checkpoint, wished), size, beside)
        if load_plan.plan != "none":
            self._model_cache.move_parked_to_ram()
        records = part_records(checkpoint, load_plan.use)
        # offloaded parts are moved by their own pipeline
        shared = self._shared(checkpoint, load_plan) if load_plan.plan == "none" else {}
        return load_plan, records, shared

    def _shared(self, checkpoint: Checkpoint, load_plan: LoadPlan) -> Mapping[str, Any]:
        records = part_records(checkpoint, load_plan.use)
        return find_shared(records, self._model_cache.shareable_models(), self._digests)

    def _load_plan(self, spec: ModelSpec, checkpoint: Checkpoint, dtype: torch.dtype | None) -> LoadPlan:
        """The load plan as asked for, without what depends on memory: placement and smaller forms."""
        settings, options = self._settings, spec.options
        class_name = pipeline_class_name(spec, checkpoint)
        asked = options.dtype if options.dtype != "auto" else settings.dtype
        return LoadPlan(
            device=self._device,
            dtype=dtype or choose_dtype(asked, class_name, self._device),
            exact=exact_parts(class_name, checkpoint.weights),
            attention=choose_attention(options.attention or settings.attention, class_name, self._device),
            channels_last=wants_channels_last(spec, settings),
            tiles=settings.vae_tiling if options.vae_tiling is None else options.vae_tiling,
            compression=choose_compression(spec, checkpoint, settings, self._device),
        )


def _stop_if_cancelled(control: Control) -> None:
    if control.cancelled():
        raise Cancelled
