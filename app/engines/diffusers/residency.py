"""The models in memory, in the order of their last use, and making room for another one.

It knows sizes and order; how a model is loaded is not its business.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from app.core.catalog import ModelSpec
from app.core.tasks import Task
from app.engines.base import ResidentModel
from app.engines.diffusers.checkpoint import Checkpoint
from app.engines.diffusers.log import log
from app.engines.diffusers.loras import LoraShelf
from app.engines.diffusers.memory import free_bytes, gigabytes, release
from app.engines.diffusers.precision import dtype_name
from app.engines.diffusers.sharing import PartCard
from app.engines.diffusers.treatment import Treatment


@dataclass(frozen=True)
class LoadedModel:
    """A pipeline in memory, and all that was decided about it. `part_bytes` is measured, `needed_bytes` was estimated.
    `cards` are of the parts that other models may have too (`sharing.py`). `siblings` do other tasks with the same
    weights (`siblings.py`)."""

    spec: ModelSpec
    checkpoint: Checkpoint
    pipeline: Any
    treatment: Treatment
    part_bytes: Mapping[str, int]
    loras: LoraShelf
    needed_bytes: int = 0
    cards: Mapping[str, PartCard] = field(default_factory=dict)
    siblings: dict[Task, Any] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)

    @property
    def device(self) -> torch.device:
        return self.treatment.device

    @property
    def dtype(self) -> torch.dtype:
        return self.treatment.dtype

    @property
    def attention(self) -> str:
        return self.treatment.attention

    @property
    def size(self) -> int:
        """In bytes, shared parts included."""
        return sum(self.part_bytes.values())

    @property
    def weights(self) -> dict[int, int]:
        """The bytes of each part that has some, by the identity of the object."""
        return {id(getattr(self.pipeline, name)): size for name, size in self.part_bytes.items()}

    def describe(self, shared_bytes: int = 0) -> ResidentModel:
        """`shared_bytes` of it are counted with another model."""
        in_ram = self.device.type == "cpu" or self.treatment.plan != "none"
        own = self.size - shared_bytes
        return ResidentModel(
            model_id=self.spec.id,
            device=str(self.device),
            dtype=dtype_name(self.dtype),
            device_bytes=0 if in_ram else own,
            host_bytes=own if in_ram else 0,
            shared_bytes=shared_bytes,
            offload=self.treatment.plan,
            needed_bytes=self.needed_bytes,
        )


class Residency:
    """Which models are in memory on one device: at most `most`, or as many as fit when that is 0."""

    def __init__(self, device: torch.device, most: int = 0) -> None:
        self._device = device
        self._most = most
        self._models: dict[str, LoadedModel] = {}  # least recently used first

    def get(self, spec: ModelSpec) -> LoadedModel | None:
        """The model of `spec`, now the most recently used; None when it is not in memory as `spec` describes it."""
        model = self._models.pop(spec.id, None)
        if model is None:
            return None
        self._models[spec.id] = model
        return model if model.spec == spec else None

    def add(self, model: LoadedModel) -> None:
        self._models[model.spec.id] = model

    def remove(self, model_id: str) -> bool:
        """Forget a model and free its memory, and say whether it was there. Nobody else may hold its pipeline then."""
        if self._models.pop(model_id, None) is None:
            return False
        release()
        log.info("%s: unloaded", model_id)
        return True

    def remove_others(self, model_id: str) -> bool:
        """Free all models but one, and say whether there were any."""
        others = [other for other in self._models if other != model_id]
        for other in others:
            self.remove(other)
        return bool(others)

    def listing(self) -> Sequence[ResidentModel]:
        """In the order of their last use. A part that several have counts with the one that was there first."""
        models = list(self._models.values())  # other threads ask too
        counted: set[int] = set()
        shared: dict[str, int] = {}
        for model in sorted(models, key=lambda model: model.since):
            weights = model.weights
            shared[model.spec.id] = sum(size for part, size in weights.items() if part in counted)
            counted |= weights.keys()
        return [model.describe(shared[model.spec.id]) for model in models]

    def donors(self) -> Sequence[LoadedModel]:
        """Those whose parts another model may have too: offloaded ones are moved about by their own pipeline."""
        return [model for model in self._models.values() if model.treatment.plan == "none"]

    def reclaimable_bytes(self) -> int:
        """What unloading all models would free on the device: each shared part counts once."""
        weights: dict[int, int] = {}
        for model in self._models.values():
            if model.treatment.plan == "none":
                weights |= model.weights
        return sum(weights.values())

    def make_room(self, model_id: str, needed: int) -> int:
        """Unload the least recently used models until `needed` bytes are free, or nothing is left to unload; gives how
        many are free then."""
        while (leaving := self._next_to_leave(needed)) is not None:
            log.info("%s: needs %s; unloading %s to make room", model_id, gigabytes(needed), leaving)
            self.remove(leaving)
        return free_bytes(self._device)

    def _next_to_leave(self, needed: int) -> str | None:
        """Where there are too many models any may go, where memory is short only one that holds some."""
        too_many = 0 < self._most <= len(self._models)
        if not too_many and free_bytes(self._device) >= needed:
            return None
        return next((id for id, model in self._models.items() if too_many or model.treatment.plan == "none"), None)
