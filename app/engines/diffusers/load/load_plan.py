"""LoadPlan: dtype, attention, placement and form of a pipeline, decided before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from app.core.memory_plan import Plan
from app.engines.diffusers.load.quantization import UNCOMPRESSED, Compression


@dataclass(frozen=True)
class LoadPlan:
    """`exact` are parts that run in float32 instead of `dtype`. `attention` names its kernels; `channels_last`: so
    are the VAE's weights in memory; `tiles`: the VAE always works in tiles; `plan` is the placement; `pinned`:
    group offloading keeps page-locked copies, and blocks of up to `resident_bytes` on the device; `compression`:
    which weights are stored in fewer bits, `form` its name; `order`: the parts in the order in which they are
    loaded; `needed_bytes` the estimated memory on the device, `working_bytes` what of it is not weights."""

    device: torch.device
    dtype: torch.dtype
    exact: tuple[str, ...] = ()
    attention: str = "native"
    tiles: bool = False
    channels_last: bool = False
    plan: Plan = "none"
    pinned: bool = True
    resident_bytes: int = 0
    compression: Compression = UNCOMPRESSED
    form: str = ""
    order: tuple[str, ...] = ()
    needed_bytes: int = 0
    working_bytes: int = 0

    @property
    def parkable(self) -> bool:
        """Whether its weights can be moved to main memory and back."""
        return self.plan == "none" and self.compression.movable

    @property
    def holds_device(self) -> bool:
        """Whether weights are on the device while nothing is drawn."""
        return self.plan == "none" or self.resident_bytes > 0

    @property
    def whole_parts(self) -> bool:
        """Whether all weights of a part are on the device while it runs."""
        return self.plan in ("none", "model")

    @property
    def dtypes(self) -> Any:
        """The `dtype` argument of `from_pretrained`."""
        return {"default": self.dtype, **dict.fromkeys(self.exact, torch.float32)} if self.exact else self.dtype

    def use(self, part: str) -> str:
        """How `part` is used, as a string; two pipelines can share it only if these are equal."""
        layout = "channels-last" if self.channels_last and part == "vae" else ""
        return f"{self.dtype_of(part)} {self.attention} tiles {self.tiles} {self.compression.of(part)}{layout}"

    def dtype_of(self, part: str) -> torch.dtype:
        return torch.float32 if part in self.exact else self.dtype
