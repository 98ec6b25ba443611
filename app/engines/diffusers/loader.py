"""Loads a model into memory: locates its files, makes its load plan, frees memory, builds the pipeline.

Only the order of the steps is decided here; each decision is made by the module of its subject.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.core.offload import Plan, choose_plan, needs
from app.engines.base import Control, EngineSettings
from app.engines.diffusers.load.attention import apply_attention, choose_attention
from app.engines.diffusers.load.build import build_pipeline, find_class, pipeline_class_name
from app.engines.diffusers.load.checkpoint import Checkpoint
from app.engines.diffusers.load.cpu_limits import require_runnable
from app.engines.diffusers.load.digests import Digests
from app.engines.diffusers.load.errors import log
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.offload import possible_plans
from app.engines.diffusers.load.precision import choose_dtype, dtype_name, exact_parts
from app.engines.diffusers.load.quantization import choose_compression
from app.engines.diffusers.load.sources import locate
from app.engines.diffusers.loras.cache import LoraCache
from app.engines.diffusers.memory.loaded import LoadedModel
from app.engines.diffusers.memory.memory import free_bytes, gigabytes, least_working_bytes, part_bytes
from app.engines.diffusers.memory.model_cache import ModelCache
from app.engines.diffusers.memory.part_sizes import weight_sizes
from app.engines.diffusers.memory.shared_parts import find_shared, part_records
from app.errors import Cancelled, OutOfMemory

_DIGESTS = ".part-digests.json"  # in MODEL_CACHE_DIR


class Loader:
    """Loads models for one device into `model_cache`."""

    def __init__(self, settings: EngineSettings, device: torch.device, model_cache: ModelCache) -> None:
        self._settings = settings
        self._device = device
        self._model_cache = model_cache
        self._digests = Digests(settings.model_cache_dir / _DIGESTS)

    def load(self, spec: ModelSpec, control: Control, dtype: torch.dtype | None = None) -> None:
        """Load `spec` in `dtype`, or the configured one. Raises what its steps raise, and Cancelled."""
        started = time.perf_counter()
        control.report(Phase.LOADING)
        checkpoint = locate(spec, self._settings, control)
        require_runnable(spec, checkpoint, self._settings)
        control.report(Phase.LOADING)
        _stop_if_cancelled(control)
        load_plan = self._load_plan(spec, checkpoint, dtype)
        records = part_records(checkpoint, load_plan.use)
        shared = find_shared(records, self._model_cache.shareable_models(), self._digests)
        compression = load_plan.compression
        plan, needed = self._make_room(spec, checkpoint, load_plan, shared)
        self._model_cache.free_ram(checkpoint.bytes_at(load_plan.dtype.itemsize))
        load_plan = dataclasses.replace(load_plan, plan=plan)
        if plan != "none":
            shared = {}  # offloaded parts are moved by their own pipeline
            self._model_cache.move_parked_to_ram()
        _stop_if_cancelled(control)
        pipeline = build_pipeline(spec, checkpoint, load_plan, shared)
        attention = apply_attention(pipeline, load_plan.attention, self._device)
        load_plan = dataclasses.replace(load_plan, attention=attention)
        most, most_bytes = self._settings.lora_cache_max, self._settings.lora_cache_bytes
        model = LoadedModel(
            spec=spec,
            checkpoint=checkpoint,
            pipeline=pipeline,
            load_plan=load_plan,
            part_bytes=part_bytes(pipeline),
            loras=LoraCache(pipeline, spec.id, most=most, most_bytes=most_bytes, quantized=compression.quantized),
            needed_bytes=needed,
            records=records,
        )
        self._model_cache.add(model)
        log.info(
            "%s: loaded %s on %s in %.1f s, %s, %s, attention %s, offload %s, revision %s%s%s",
            *(spec.id, type(pipeline).__name__, self._device, time.perf_counter() - started, gigabytes(model.size)),
            *(dtype_name(model.dtype), model.attention, plan, checkpoint.revision),
            f", {compression.description}" if compression.description else "",
            f", shared with others: {', '.join(shared)}" if shared else "",
        )
        _stop_if_cancelled(control)

    def restore(self, spec: ModelSpec, control: Control) -> bool:
        """Move `spec` from the RAM cache back to the device; True if it is resident now."""
        started = time.perf_counter()
        model = self._model_cache.pop_parked(spec)
        if model is None:
            return False
        control.report(Phase.LOADING)
        needed = self._model_cache.missing_bytes(model.weights.items())
        needed += least_working_bytes(spec, model.dtype, self._device)
        if self._model_cache.make_room(spec.id, needed, held=model.weights) < needed:
            log.info("%s: not enough memory to restore it as it was; loading it again", spec.id)
            return False
        model.move(self._device)
        self._model_cache.add(model)
        log.info("%s: back on %s in %.1f s", spec.id, self._device, time.perf_counter() - started)
        return True

    def _load_plan(self, spec: ModelSpec, checkpoint: Checkpoint, dtype: torch.dtype | None) -> LoadPlan:
        """The load plan without its offload plan, which depends on what is in memory."""
        settings, options = self._settings, spec.options
        class_name = pipeline_class_name(spec, checkpoint)
        asked = options.dtype if options.dtype != "auto" else settings.dtype
        return LoadPlan(
            device=self._device,
            dtype=dtype or choose_dtype(asked, class_name, self._device),
            exact=exact_parts(class_name, checkpoint.weights),
            attention=choose_attention(options.attention or settings.attention, class_name, self._device),
            tiles=settings.vae_tiling if options.vae_tiling is None else options.vae_tiling,
            compression=choose_compression(spec, checkpoint, settings, self._device),
        )

    def _make_room(
        self, spec: ModelSpec, checkpoint: Checkpoint, load_plan: LoadPlan, shared: Mapping[str, Any]
    ) -> tuple[Plan, int]:
        """Choose the offload plan by the memory that is free or reclaimable, and reclaim it. Returns the plan and its
        estimated bytes.

        Raises OutOfMemory when it does not fit with nothing left to unload.
        """
        requested = spec.options.offload or self._settings.offload
        pipeline_class = find_class(pipeline_class_name(spec, checkpoint))
        possible = possible_plans(pipeline_class, self._device, load_plan.compression)
        working = least_working_bytes(spec, load_plan.dtype, self._device)
        here = [name for name, part in shared.items() if self._model_cache.has_on_device(part)]
        held = {id(shared[name]) for name in here}
        needed = needs(weight_sizes(checkpoint, load_plan.item_bytes, here, load_plan.compression.stored), working)
        reachable = free_bytes(self._device) + self._model_cache.reclaimable_bytes(held)
        plan = choose_plan(requested, needed, reachable, possible)
        free = self._model_cache.make_room(spec.id, needed[plan], held)
        plan = choose_plan(requested, needed, free, possible)  # again: perhaps not all was freed
        if len(possible) > 1:
            estimates = ", ".join(f"{name} {gigabytes(needed[name])}" for name in possible)
            log.info("%s: offload %s, %s free (needed: %s)", spec.id, plan, gigabytes(free), estimates)
        if free < needed[plan]:
            raise OutOfMemory(
                f"{spec.id} needs about {gigabytes(needed[plan])} of memory on {self._device}, where {gigabytes(free)}"
                f" are free. {_advice(plan, possible)}"
            )
        return plan, needed[plan]


def _advice(plan: Plan, possible: Sequence[Plan]) -> str:
    offload = "Set OFFLOAD=auto, choose" if plan != possible[-1] else "Choose"
    return f"{offload} a smaller model or a narrower dtype, or stop other programs that use that memory."


def _stop_if_cancelled(control: Control) -> None:
    if control.cancelled():
        raise Cancelled
