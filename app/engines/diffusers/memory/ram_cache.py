"""Models that had to leave the GPU wait in main memory while there is room: to come back they are moved, not loaded.

A part that a model on the GPU uses too stays there. On a CPU there is nowhere to leave from, and nothing is parked.
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
    """The models that wait, those that came first first. `in_use` are always the parts of models on the GPU, by the
    identity of the object."""

    def __init__(self, device: torch.device, wanted: bool) -> None:
        self._open = wanted and device.type == "cuda"
        self._models: dict[str, LoadedModel] = {}

    @property
    def models(self) -> Sequence[LoadedModel]:
        return list(self._models.values())

    def take(self, model: LoadedModel, in_use: Collection[int]) -> bool:
        """Have `model`, which has left the GPU, wait here, and say whether there was room."""
        if not self._open or not model.load_plan.parkable:
            return False
        here = {part for other in self._models.values() for part in other.weights}
        size = sum(size for part, size in model.weights.items() if part not in in_use and part not in here)
        too_many = evictions_to_park(size, self._sizes(in_use), free_bytes(_CPU), reserve_bytes(ram_bytes()))
        if too_many is None:
            log.info("%s: no room to wait in main memory (%s)", model.spec.id, gigabytes(size))
            return False
        self._drop_oldest(too_many)
        model.loras.clear()
        self._models[model.spec.id] = model
        try:
            self.settle(in_use)
        except MEMORY_ERRORS as error:
            if not is_out_of_memory(error):
                raise
            log.warning("%s: main memory ran out; it is unloaded", model.spec.id)
            del self._models[model.spec.id]
            return False
        log.info("%s: waits in main memory (%s)", model.spec.id, gigabytes(size))
        return True

    def settle(self, in_use: Collection[int]) -> None:
        """Bring to main memory what only models here use: the last other user may have gone."""
        for model in self._models.values():
            model.move(_CPU, spared=in_use)

    def leave(self, spec: ModelSpec) -> LoadedModel | None:
        """The model of `spec`, no longer here; None when it does not wait as `spec` describes it."""
        model = self._models.get(spec.id)
        return self._models.pop(spec.id) if model is not None and model.spec == spec else None

    def drop(self, model_id: str) -> bool:
        """Forget a model and say whether it was here."""
        return self._models.pop(model_id, None) is not None

    def spare(self, size: int, in_use: Collection[int]) -> None:
        """Drop the oldest until `size` bytes of main memory are free beside the reserve, or none is left."""
        if self._models:
            needed = size + reserve_bytes(ram_bytes())
            self._drop_oldest(count_to_evict(self._sizes(in_use), needed, free_bytes(_CPU)))

    def _sizes(self, in_use: Collection[int]) -> list[int]:
        """What is freed with each when all older ones are gone."""
        later: set[int] = set(in_use)
        sizes: list[int] = []
        for model in reversed(self._models.values()):
            sizes.append(sum(size for part, size in model.weights.items() if part not in later))
            later |= model.weights.keys()
        return sizes[::-1]

    def _drop_oldest(self, count: int) -> None:
        for model_id in list(self._models)[:count]:
            log.info("%s: main memory is short; it no longer waits there", model_id)
            del self._models[model_id]
