"""Chooses the dtype of a model, and a wider one when it overflows.

FP16 reaches ±65504. The UNets of SD 1.5 and SDXL were trained for it (SDXL's VAE upcasts itself). FLUX clips its
activations, so FP16 runs; the weights of FLUX, SD 3 and Sana were made in bfloat16, which is therefore what `auto`
takes for them where the GPU has it. A CPU computes FP16 slowly and not everywhere, so it is FP32 there.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from app.core.families.lookup import family_of
from app.engines.diffusers.load.errors import warn_once

_BY_NAME = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def choose_dtype(asked: str, pipeline_class: str, device: torch.device) -> torch.dtype:
    """The precision to load in. `asked` is `auto` or a name; `pipeline_class` identifies the family."""
    if device.type == "cpu":
        if asked == "float16":
            warn_once("float16 needs a GPU: models run in float32 on the CPU.")
        return torch.bfloat16 if asked == "bfloat16" else torch.float32
    if asked != "auto":
        return _BY_NAME[asked]
    family = family_of(pipeline_class)
    if (family is not None and family.made_in_float16) or not _has_bfloat16(device):
        return torch.float16
    return torch.bfloat16


def exact_parts(pipeline_class: str, parts: Iterable[str]) -> tuple[str, ...]:
    """The parts that always run in float32, by the family's record."""
    family = family_of(pipeline_class)
    return () if family is None else tuple(part for part in parts if part in family.float32_parts)


def safer_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype | None:
    """The dtype to try when `dtype` overflowed; None when there is no wider one."""
    if dtype is torch.float32:
        return None
    return torch.bfloat16 if dtype is torch.float16 and _has_bfloat16(device) else torch.float32


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda" and torch.version.hip is None:
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type in ("cuda", "xpu")  # what torch supports of AMD's and Intel's has it; not all of Apple's
