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
from app.engines.diffusers.memory import free_bytes, gigabytes, is_offloaded, release
from app.engines.diffusers.precision import dtype_name
from app.engines.diffusers.sharing import PartCard
from app.errors import OutOfMemory

_MARGIN = 1.05  # buffers, alignment and parts that stay in a wider precision
_WORKING_BYTES = {"cpu": 256_000_000, "cuda": 1_000_000_000}  # the least that a generation itself needs


@dataclass(frozen=True)
class LoadedModel:
    """A pipeline in memory, and all that was decided about it. `part_bytes` is measured. `cards` are of the parts that
    other models may have too (`sharing.py`). `siblings` do other tasks with the same weights (`siblings.py`)."""

    spec: ModelSpec
    checkpoint: Checkpoint
    pipeline: Any
    device: torch.device
    dtype: torch.dtype
    attention: str
    part_bytes: Mapping[str, int]
    loras: LoraShelf
    cards: Mapping[str, PartCard] = field(default_factory=dict)
    siblings: dict[Task, Any] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)

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
        in_ram = self.device.type == "cpu" or is_offloaded(self.pipeline)
        own = self.size - shared_bytes
        return ResidentModel(
            model_id=self.spec.id,
            device=str(self.device),
            dtype=dtype_name(self.dtype),
            device_bytes=0 if in_ram else own,
            host_bytes=own if in_ram else 0,
            shared_bytes=shared_bytes,
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
        return [model for model in self._models.values() if not is_offloaded(model.pipeline)]

    def make_room(self, model_id: str, weight_bytes: int) -> None:
        """Unload the least recently used models until `weight_bytes` of weights fit.

        Raises OutOfMemory, with nothing left to unload, when they do not.
        """
        needed = int(weight_bytes * _MARGIN) + _WORKING_BYTES.get(self._device.type, 0)
        while self._models and (free_bytes(self._device) < needed or 0 < self._most <= len(self._models)):
            oldest = next(iter(self._models))
            log.info("%s: needs %s; unloading %s to make room", model_id, gigabytes(needed), oldest)
            self.remove(oldest)
        free = free_bytes(self._device)
        if free < needed:
            raise OutOfMemory(
                f"{model_id} needs about {gigabytes(needed)} of memory on {self._device}, where {gigabytes(free)} are"
                " free. Choose a smaller model or a narrower dtype, or stop what else uses that memory."
            )
