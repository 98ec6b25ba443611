"""The models in memory, in the order of their last use, and making room for another one.

It knows sizes and order; how a model is loaded is not its business.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import torch

from app.core.catalog import ModelSpec
from app.engines.base import ResidentModel
from app.engines.diffusers.load.log import log
from app.engines.diffusers.memory.loaded import LoadedModel
from app.engines.diffusers.memory.memory import free_bytes, gigabytes, release
from app.engines.diffusers.memory.ram_cache import RamCache


class ModelCache:
    """Which models are in memory on one device: at most `most`, or as many as fit when that is 0. With `park`, those
    that have to leave a GPU wait in main memory."""

    def __init__(self, device: torch.device, most: int = 0, *, park: bool = False) -> None:
        self._device = device
        self._most = most
        self._models: dict[str, LoadedModel] = {}  # least recently used first
        self._parking = RamCache(device, park)

    def get(self, spec: ModelSpec) -> LoadedModel | None:
        """The model of `spec`, now the most recently used; None when it is not in memory as `spec` describes it, or
        only waits there."""
        model = self._models.pop(spec.id, None)
        if model is None:
            return None
        self._models[spec.id] = model
        return model if model.spec == spec else None

    def add(self, model: LoadedModel) -> None:
        self._models[model.spec.id] = model

    def unpark(self, spec: ModelSpec) -> LoadedModel | None:
        """The model of `spec` out of those that wait, for the caller to bring back; None when it does not."""
        return self._parking.leave(spec)

    def remove(self, model_id: str) -> bool:
        """Forget a model and free its memory, and say whether it was there. Nobody else may hold its pipeline then."""
        was_here = self._models.pop(model_id, None) is not None
        was_here |= self._parking.drop(model_id)
        self._parking.settle(self._in_use())
        if was_here:
            release()
            log.info("%s: unloaded", model_id)
        return was_here

    def remove_others(self, model_id: str) -> bool:
        """Free the memory of all models but one, and say whether there were any. Those that have parts of that one go
        wholly: what becomes of it must not become of them."""
        others = [other for other in self._models if other != model_id]
        for tied in self._tied_to(model_id):
            self.remove(tied)
        for other in others:
            self._evict(other)
        return bool(others)

    def _tied_to(self, model_id: str) -> list[str]:
        """The models that have parts of that one."""
        if model_id not in self._models:
            return []
        parts = self._models[model_id].weights.keys()
        everybody = (*self._models.values(), *self._parking.models)
        return [other.spec.id for other in everybody if other.spec.id != model_id and parts & other.weights.keys()]

    def listing(self) -> Sequence[ResidentModel]:
        """In the order of their last use, those that wait first. A part that several have counts with the one that was
        there first."""
        models, parked = list(self._models.values()), self._parking.models  # other threads ask too
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

    def donors(self) -> Sequence[LoadedModel]:
        """Those whose parts another model may have too: offloaded ones are moved about by their own pipeline."""
        return [*(model for model in self._models.values() if model.load_plan.plan == "none"), *self._parking.models]

    def has_on_device(self, part: object) -> bool:
        """Whether a model on the device has it; one that is parked does not."""
        return id(part) in self._in_use()

    def reclaimable_bytes(self, held: Collection[int] = ()) -> int:
        """What unloading all models would free on the device, but for the parts `held`: each part counts once."""
        weights: dict[int, int] = {}
        for model in self._models.values():
            if model.load_plan.plan == "none":
                weights |= model.weights
        return sum(size for part, size in weights.items() if part not in held)

    def missing_bytes(self, weights: Iterable[tuple[int, int]]) -> int:
        """What of `weights` (part and size) no model on the device has."""
        in_use = self._in_use()
        return sum(size for part, size in weights if part not in in_use)

    def make_room(self, model_id: str, needed: int, held: Collection[int] = ()) -> int:
        """Have the least recently used models leave until `needed` bytes are free, or nothing is left to leave; gives
        how many are free then. The parts `held` stay where they are."""
        while (leaving := self._next_to_leave(needed)) is not None:
            log.info("%s: needs %s; %s leaves to make room", model_id, gigabytes(needed), leaving)
            self._evict(leaving, held)
        return free_bytes(self._device)

    def settle(self) -> None:
        """Bring to main memory what only parked models use."""
        self._parking.settle(self._in_use())

    def spare_ram(self, size: int = 0) -> None:
        """See to it that `size` bytes of main memory are free beside the reserve, as far as models that wait there can
        give them."""
        self._parking.spare(size, self._in_use())

    def _evict(self, model_id: str, held: Collection[int] = ()) -> None:
        """Free the device's memory of a model, which may wait in main memory from now on. Models are named here and not
        passed: whoever holds one keeps its memory."""
        model = self._models.pop(model_id, None)
        if model is None:
            return
        in_use = self._in_use() | set(held)
        if not self._parking.take(model, in_use):
            log.info("%s: unloaded", model_id)
        del model
        self._parking.settle(in_use)
        release()

    def _in_use(self) -> set[int]:
        return {part for model in self._models.values() for part in model.weights}

    def _next_to_leave(self, needed: int) -> str | None:
        """Where there are too many models any may go, where memory is short only one that holds some."""
        too_many = 0 < self._most <= len(self._models)
        if not too_many and free_bytes(self._device) >= needed:
            return None
        return next((id for id, model in self._models.items() if too_many or model.load_plan.plan == "none"), None)
