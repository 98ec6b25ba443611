"""How a pipeline is made and kept: what was decided about it before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from app.core.offload import Plan


@dataclass(frozen=True)
class Treatment:
    """`attention` is `native` or `xformers`; `tiles`: the VAE works in tiles from the start; `plan`: where the weights
    wait while they are not used."""

    device: torch.device
    dtype: torch.dtype
    attention: str = "native"
    tiles: bool = False
    plan: Plan = "none"

    @property
    def use(self) -> str:
        """What two pipelines must have in common for a part of one to be what it would be in the other."""
        return f"{self.dtype} {self.attention} tiles {self.tiles}"
