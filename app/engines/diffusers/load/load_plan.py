"""How a pipeline is made and kept: what was decided about it before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from app.core.offload import Plan
from app.engines.diffusers.load.quantization import AS_IT_IS, Compression


@dataclass(frozen=True)
class LoadPlan:
    """`exact` are parts that run in float32 instead of `dtype`. `attention` is `native` or `xformers`; `tiles`: the VAE
    works in tiles from the start; `plan`: where the weights wait while they are not used; `compression`: which weights
    are kept in fewer bits."""

    device: torch.device
    dtype: torch.dtype
    exact: tuple[str, ...] = ()
    attention: str = "native"
    tiles: bool = False
    plan: Plan = "none"
    compression: Compression = AS_IT_IS

    @property
    def parkable(self) -> bool:
        """Whether its weights can be moved to main memory and back."""
        return self.plan == "none" and self.compression.movable

    @property
    def dtypes(self) -> Any:
        """As `from_pretrained` takes them."""
        return {"default": self.dtype, **dict.fromkeys(self.exact, torch.float32)} if self.exact else self.dtype

    def use(self, part: str) -> str:
        """What two pipelines must have in common for `part` of one to be what it would be in the other."""
        return f"{self._dtype(part)} {self.attention} tiles {self.tiles} {self.compression.of(part)}"

    def item_bytes(self, part: str) -> float:
        """What one number of `part` takes in memory."""
        return self.compression.item_bytes(part, self._dtype(part).itemsize)

    def _dtype(self, part: str) -> torch.dtype:
        return torch.float32 if part in self.exact else self.dtype
