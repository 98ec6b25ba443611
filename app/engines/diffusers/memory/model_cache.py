"""LRU cache of the models in memory, which evicts models to free memory for another one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import torch

from app.core.catalog import ModelSpec
from app.core.faults import is_out_of_memory
from app.core.memory_use import MemoryChange
from app.core.parking import count_to_evict, evictions_to_park, reserve_bytes
from app.engines.base import ResidentModel
from app.engines.diffusers.load.errors import MEMORY_ERRORS, log
from app.engines.diffusers.load.group_offload import stream_all
from app.engines.diffusers.memory.loaded import LoadedModel
from app.engines.diffusers.memory.memory import free_bytes, gigabytes, memory_use, release
from app.monitoring.resources import ram_bytes

_CPU = torch.device("cpu")


class ModelCache:
    """The models in memory of one device: at most `most`, or as many as fit when that is 0. With `park`, models evicted
    from a GPU move to the RAM cache."""

    def __init__(self, device: torch.device, most: int = 0, *, park: bool = False) -> None:
        self._device = device
        self._most = most
        self._models: dict[str, LoadedModel] = {}  # least recently used first
        self._ram_cache = RamCache(device, park)

    def get(self, spec: ModelSpec) -> LoadedModel | None:
        """The model of `spec`, now the most recently used; None when it is not on the device as `spec` describes it."""
        model = self._models.pop(spec.id, None)
        if model is None:
            return None
        self._models[spec.id] = model
        return model if model.spec == spec else None

    def add(self, model: LoadedModel) -> None:
        self._models[model.spec.id] = model

    def pop_parked(self, spec: ModelSpec) -> LoadedModel | None:
        """Remove the model of `spec` from the RAM cache, for the caller to move to the device; None when not cached."""
        return self._ram_cache.pop(spec)

    def remove(self, model_id: str) -> bool:
        """Remove a model and free its memory; True if it was in memory. No other reference to its pipeline may
        exist."""
        before = memory_use(self._device)
        was_here = self._models.pop(model_id, None) is not None
        was_here |= self._ram_cache.remove(model_id)
        self._ram_cache.move_to_ram(self._in_use())
        if was_here:
            release()
            log.info("%s: unloaded; %s", model_id, MemoryChange(before, memory_use(self._device)))
        return was_here

    def remove_lora(self, model_id: str, lora_id: str) -> bool:
        """Free a LoRA of a model; False if it was not in memory."""
        model, before = self._models.get(model_id), memory_use(self._device)
        if model is None or not model.loras.remove(lora_id):
            return False
        release()
        log.info("%s: unloaded the LoRA %s; %s", model_id, lora_id, MemoryChange(before, memory_use(self._device)))
        return True

    def remove_others(self, model_id: str) -> bool:
        """Evict all models but one; True if there were any. Models that share parts with it are removed, not parked,
        since a change to it must not affect them."""
        others = [other for other in self._models if other != model_id]
        for tied in self._sharing_parts_with(model_id):
            self.remove(tied)
        for other in others:
            self._evict(other)
        return bool(others)

    def _sharing_parts_with(self, model_id: str) -> list[str]:
        """Ids of the models that share parts with that one."""
        if model_id not in self._models:
            return []
        parts = self._models[model_id].weights.keys()
        all_models = (*self._models.values(), *self._ram_cache.models)
        return [other.spec.id for other in all_models if other.spec.id != model_id and parts & other.weights.keys()]

    def resident_models(self) -> Sequence[ResidentModel]:
        """Parked models, then those on the device, least recently used first. A shared part counts with the model that
        was loaded first."""
        models, parked = list(self._models.values()), self._ram_cache.models  # copies: called from other threads too
        counted: set[int] = set()
        shared: dict[str, int] = {}
        for model in (*sorted(models, key=lambda model: model.since), *parked):
            weights = model.weights
            shared[model.spec.id] = sum(size for part, size in weights.items() if part in counted)
            counted |= weights.keys()
        return [
            *(model.describe(shared[model.spec.id], parked=True) for model in parked),
            *(model.describe(shared[model.spec.id]) for model in models),
        ]

    def shareable_models(self) -> Sequence[LoadedModel]:
        """The models whose parts may be shared. Not offloaded ones, whose parts are moved by their own pipeline."""
        return [*(model for model in self._models.values() if model.load_plan.plan == "none"), *self._ram_cache.models]

    def parts_of(self, model_ids: Collection[str]) -> set[int]:
        """The parts with weights of those models on the device, by their objects' ids."""
        return {part for id, model in self._models.items() if id in model_ids for part in model.weights}

    def has_on_device(self, part: object) -> bool:
        """Whether a model on the device uses `part`; parked models do not count."""
        return id(part) in self._in_use()

    def reclaimable_bytes(self, held: Collection[int] = ()) -> int:
        """Bytes that evicting all models would free on the device, except for the parts `held`; each part counts
        once."""
        weights: dict[int, int] = {}
        for model in self._models.values():
            if model.load_plan.plan == "none":
                weights |= model.weights
        blocks = sum(model.load_plan.resident_bytes for model in self._models.values())
        return blocks + sum(size for part, size in weights.items() if part not in held)

    def reclaimable_ram(self) -> int:
        """Bytes of main memory that dropping the parked and the offloaded models would free."""
        offloaded = sum(model.size for model in self._models.values() if model.load_plan.plan != "none")
        return offloaded + self._ram_cache.size(self._in_use())

    def missing_bytes(self, weights: Iterable[tuple[int, int]]) -> int:
        """Bytes of those `weights` (part and size) that no model on the device has."""
        in_use = self._in_use()
        return sum(size for part, size in weights if part not in in_use)

    def make_room(
        self,
        model_id: str,
        needed: int,
        held: Collection[int] = (),
        *,
        beside: Collection[str] = (),
        draws: bool = True,
    ) -> int:
        """Evict the least recently used models until `needed` bytes are free, or none is left; returns the free bytes.
        The parts `held` stay on the device, and the models `beside`, which are used together with that one. Of an
        offloaded model only its blocks there are moved to main memory. `draws`: it is no auxiliary model, so that the
        bound on models in memory counts it."""
        while (evicted := self._next_to_evict(needed, beside, draws=draws)) is not None:
            log.info("%s: needs %s; evicting %s", model_id, gigabytes(needed), evicted)
            if not self._stream_all(evicted):
                self._evict(evicted, held)
        return free_bytes(self._device)

    def make_ram_room(self, model_id: str, needed: int) -> int:
        """Drop parked models, then the least recently used offloaded ones, until `needed` bytes of main memory are
        free, or none is left; returns the free bytes."""
        self._ram_cache.free(needed, self._in_use())
        while free_bytes(_CPU) < needed:
            offloaded = next((id for id, model in self._models.items() if model.load_plan.plan != "none"), None)
            if offloaded is None:
                break
            log.info("%s: needs %s of main memory; evicting %s", model_id, gigabytes(needed), offloaded)
            self._evict(offloaded)
        return free_bytes(_CPU)

    def move_parked_to_ram(self) -> None:
        """Move the parts that only parked models use to main memory."""
        self._ram_cache.move_to_ram(self._in_use())

    def free_ram(self, size: int = 0) -> None:
        """Drop parked models until `size` bytes of main memory are free beyond the reserve, or none is left."""
        self._ram_cache.free(size, self._in_use())

    def _evict(self, model_id: str, held: Collection[int] = ()) -> None:
        """Free a model's device memory, moving it to the RAM cache if there is room. Takes an id, not a model, since a
        reference would keep its memory."""
        before = memory_use(self._device)
        model = self._models.pop(model_id, None)
        if model is None:
            return
        in_use = self._in_use() | set(held)
        how = "parked" if self._ram_cache.put(model, in_use) else "unloaded"
        del model
        self._ram_cache.move_to_ram(in_use)
        release()
        log.info("%s: %s; %s", model_id, how, MemoryChange(before, memory_use(self._device)))

    def _stream_all(self, model_id: str) -> bool:
        """Move the blocks of an offloaded model that stay on the device to main memory; False if it has none, or has to
        go since there are too many models."""
        model = self._models[model_id]
        if self._has_too_many() or not model.load_plan.resident_bytes:
            return False
        stream_all(model.pipeline, self._device, pinned=model.load_plan.pinned)
        self._models[model_id] = replace(model, load_plan=replace(model.load_plan, resident_bytes=0))
        release()
        return True

    def _has_too_many(self) -> bool:
        return 0 < self._most <= len(self._drawing())

    def _drawing(self) -> list[str]:
        """The ids of the models that draw, which `most` counts: auxiliary ones do not."""
        return [id for id, model in self._models.items() if model.spec.options.kind is None]

    def _in_use(self) -> set[int]:
        return {part for model in self._models.values() for part in model.weights}

    def _next_to_evict(self, needed: int, beside: Collection[str], *, draws: bool) -> str | None:
        """The id of the next model to evict; None when there is enough room. Above `most` any that draws; for memory
        only one that holds some of the device."""
        if draws and self._has_too_many():
            return self._drawing()[0]
        if free_bytes(self._device) >= needed:
            return None
        holding = (id for id, model in self._models.items() if model.load_plan.holds_device)
        return next((id for id in holding if id not in beside), None)


class RamCache:
    """Evicted models, oldest first. `in_use` are always the object ids of the parts of models on the GPU."""

    def __init__(self, device: torch.device, enabled: bool) -> None:
        self._enabled = enabled and device.type == "cuda"
        self._models: dict[str, LoadedModel] = {}

    @property
    def models(self) -> Sequence[LoadedModel]:
        return list(self._models.values())

    def put(self, model: LoadedModel, in_use: Collection[int]) -> bool:
        """Cache `model`, which was evicted from the GPU; False if there is no room."""
        if not self._enabled or not model.load_plan.parkable:
            return False
        here = {part for other in self._models.values() for part in other.weights}
        size = sum(size for part, size in model.weights.items() if part not in in_use and part not in here)
        too_many = evictions_to_park(size, self._sizes(in_use), free_bytes(_CPU), reserve_bytes(ram_bytes()))
        if too_many is None:
            log.info("%s: no room in main memory to park it (%s)", model.spec.id, gigabytes(size))
            return False
        self._drop_oldest(too_many)
        model.loras.clear()
        self._models[model.spec.id] = model
        try:
            self.move_to_ram(in_use)
        except MEMORY_ERRORS as error:
            if not is_out_of_memory(error):
                raise
            log.warning("%s: main memory ran out; it is unloaded", model.spec.id)
            del self._models[model.spec.id]
            return False
        log.info("%s: parked in main memory (%s)", model.spec.id, gigabytes(size))
        return True

    def move_to_ram(self, in_use: Collection[int]) -> None:
        """Move the parts that no model on the GPU uses any more to main memory."""
        for model in self._models.values():
            model.move(_CPU, keep=in_use)

    def pop(self, spec: ModelSpec) -> LoadedModel | None:
        """Remove and return the model of `spec`; None when it is not cached as `spec` describes it."""
        model = self._models.get(spec.id)
        return self._models.pop(spec.id) if model is not None and model.spec == spec else None

    def remove(self, model_id: str) -> bool:
        """Remove a model; True if it was cached."""
        return self._models.pop(model_id, None) is not None

    def free(self, size: int, in_use: Collection[int]) -> None:
        """Drop the oldest until `size` bytes of main memory are free beyond the reserve, or none is left."""
        if self._models:
            needed = size + reserve_bytes(ram_bytes())
            self._drop_oldest(count_to_evict(self._sizes(in_use), needed, free_bytes(_CPU)))

    def size(self, in_use: Collection[int]) -> int:
        """Bytes that dropping all models frees."""
        return sum(self._sizes(in_use))

    def _sizes(self, in_use: Collection[int]) -> list[int]:
        """Bytes that dropping each model frees after all older ones were dropped."""
        later: set[int] = set(in_use)
        sizes: list[int] = []
        for model in reversed(self._models.values()):
            sizes.append(sum(size for part, size in model.weights.items() if part not in later))
            later |= model.weights.keys()
        return sizes[::-1]

    def _drop_oldest(self, count: int) -> None:
        for model_id in list(self._models)[:count]:
            log.info("%s: evicted from main memory, which is low", model_id)
            del self._models[model_id]
