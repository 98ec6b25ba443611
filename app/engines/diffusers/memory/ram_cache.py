"""RAM cache of models evicted from the GPU: moving one back is faster than loading it.

A part that a model on the GPU uses too stays there. Disabled on a CPU.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from app.core.catalog import ModelSpec
from app.core.parking import count_to_evict, evictions_to_park, reserve_bytes
from app.engines.diffusers.load.errors import MEMORY_ERRORS, is_out_of_memory
from app.engines.diffusers.load.log import log
from app.engines.diffusers.memory.loaded import LoadedModel
from app.engines.diffusers.memory.memory import free_bytes, gigabytes, ram_bytes

_CPU = torch.device("cpu")


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
            log.info("%s: dropped from main memory, which is short", model_id)
            del self._models[model_id]
