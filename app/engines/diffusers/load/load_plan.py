"""LoadPlan: dtype, attention, offloading and compression of a pipeline, decided before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from app.core.offload import Plan
from app.engines.diffusers.load.quantization import UNCOMPRESSED, Compression


@dataclass(frozen=True)
class LoadPlan:
    """`exact` are parts that run in float32 instead of `dtype`. `attention` is `native` or `xformers`; `tiles`: the VAE
    always works in tiles; `plan` is the offload plan; `compression`: which weights are stored in fewer bits."""

    device: torch.device
    dtype: torch.dtype
    exact: tuple[str, ...] = ()
    attention: str = "native"
    tiles: bool = False
    plan: Plan = "none"
    compression: Compression = UNCOMPRESSED

    @property
    def parkable(self) -> bool:
        """Whether its weights can be moved to main memory and back."""
        return self.plan == "none" and self.compression.movable

    @property
    def dtypes(self) -> Any:
        """The `dtype` argument of `from_pretrained`."""
        return {"default": self.dtype, **dict.fromkeys(self.exact, torch.float32)} if self.exact else self.dtype

    def use(self, part: str) -> str:
        """How `part` is used, as a string; two pipelines can share it only if these are equal."""
        return f"{self._dtype(part)} {self.attention} tiles {self.tiles} {self.compression.of(part)}"

    def item_bytes(self, part: str) -> float:
        """Bytes that one number of `part` takes in memory."""
        return self.compression.item_bytes(part, self._dtype(part).itemsize)

    def _dtype(self, part: str) -> torch.dtype:
        return torch.float32 if part in self.exact else self.dtype
