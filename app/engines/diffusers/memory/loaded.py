"""LoadedModel: a pipeline in memory with its load plan and measured sizes."""

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
from app.engines.diffusers.memory.prompt_cache import PromptCache
from app.engines.diffusers.memory.shared_parts import PartRecord
from app.engines.diffusers.speed.acceleration import Acceleration


@dataclass(frozen=True)
class LoadedModel:
    """A pipeline in memory. `part_bytes` is measured, `needed_bytes` was estimated. `records` are those of its
    shareable parts (`shared_parts.py`). `task_pipelines` run other tasks with the same weights
    (`task_pipelines.py`). `preview_vae` is a small decoder, None for previews by the pipeline's own; its 5 MB are not
    counted."""

    spec: ModelSpec
    checkpoint: Checkpoint
    pipeline: Any
    load_plan: LoadPlan
    part_bytes: Mapping[str, int]
    loras: LoraCache
    prompts: PromptCache
    needed_bytes: int = 0
    records: Mapping[str, PartRecord] = field(default_factory=dict)
    task_pipelines: dict[Task, Any] = field(default_factory=dict)
    preview_vae: Any = None
    acceleration: Acceleration = field(default_factory=Acceleration)
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
        """Bytes, shared parts included."""
        return sum(self.part_bytes.values())

    @property
    def weights(self) -> dict[int, int]:
        """Bytes of each part with weights, by the object's id."""
        return {id(getattr(self.pipeline, name)): size for name, size in self.part_bytes.items()}

    def move(self, device: torch.device, keep: Collection[int] = ()) -> None:
        """Move the weights to `device`, except for the parts in `keep`. Never with a dtype, as in `offload.place`."""
        for name in self.part_bytes:
            part = getattr(self.pipeline, name)
            if id(part) not in keep:
                part.to(device)
        if self.preview_vae is not None:
            self.preview_vae.to(device)

    def describe(self, shared_bytes: int = 0, *, parked: bool = False) -> ResidentModel:
        """The model for listings. `shared_bytes` are counted with another model; `parked`: it is in the RAM cache."""
        in_ram = parked or self.device.type == "cpu" or self.load_plan.plan != "none"
        own, resident = self.size - shared_bytes, self.load_plan.resident_bytes
        return ResidentModel(
            model_id=self.spec.id,
            device=str(self.device),
            dtype=dtype_name(self.dtype),
            device_bytes=resident if in_ram else own,
            host_bytes=own - resident if in_ram else 0,
            shared_bytes=shared_bytes,
            offload=self.load_plan.plan,
            needed_bytes=self.needed_bytes,
            parked=parked,
            form=self.load_plan.form,
            attention=self.attention,
            loras=self.loras.ids,
        )
