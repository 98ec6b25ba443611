"""A model in memory: its pipeline, and all that was decided and measured about it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from app.core.catalog import ModelSpec
from app.core.tasks import Task
from app.engines.base import ResidentModel
from app.engines.diffusers.load.checkpoint import Checkpoint
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.precision import dtype_name
from app.engines.diffusers.loras.cache import LoraCache
from app.engines.diffusers.memory.shared_parts import PartRecord


@dataclass(frozen=True)
class LoadedModel:
    """A pipeline in memory, and all that was decided about it. `part_bytes` is measured, `needed_bytes` was estimated.
    `cards` are of the parts that other models may have too (`sharing.py`). `siblings` do other tasks with the same
    weights (`siblings.py`)."""

    spec: ModelSpec
    checkpoint: Checkpoint
    pipeline: Any
    load_plan: LoadPlan
    part_bytes: Mapping[str, int]
    loras: LoraCache
    needed_bytes: int = 0
    cards: Mapping[str, PartRecord] = field(default_factory=dict)
    siblings: dict[Task, Any] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)

    @property
    def device(self) -> torch.device:
        return self.load_plan.device

    @property
    def dtype(self) -> torch.dtype:
        return self.load_plan.dtype

    @property
    def attention(self) -> str:
        return self.load_plan.attention

    @property
    def size(self) -> int:
        """In bytes, shared parts included."""
        return sum(self.part_bytes.values())

    @property
    def weights(self) -> dict[int, int]:
        """The bytes of each part that has some, by the identity of the object."""
        return {id(getattr(self.pipeline, name)): size for name, size in self.part_bytes.items()}

    def move(self, device: torch.device, spared: Collection[int] = ()) -> None:
        """Bring its weights to `device`, but for the parts `spared`. Never with a dtype, as in `economy.place`."""
        for name in self.part_bytes:
            part = getattr(self.pipeline, name)
            if id(part) not in spared:
                part.to(device)

    def describe(self, shared_bytes: int = 0, *, parked: bool = False) -> ResidentModel:
        """`shared_bytes` of it are counted with another model; `parked`: it has left the GPU and waits."""
        in_ram = parked or self.device.type == "cpu" or self.load_plan.plan != "none"
        own = self.size - shared_bytes
        return ResidentModel(
            model_id=self.spec.id,
            device=str(self.device),
            dtype=dtype_name(self.dtype),
            device_bytes=0 if in_ram else own,
            host_bytes=own if in_ram else 0,
            shared_bytes=shared_bytes,
            offload=self.load_plan.plan,
            needed_bytes=self.needed_bytes,
            parked=parked,
        )
