"""Stores the weights of linear layers and convolutions in float8 (diffusers' layer-wise casting), each widened while it
runs. Which layers of a part are cast is decided here, by names, for the loader and for the estimate."""

from __future__ import annotations

import re
from typing import Any

import diffusers
import torch
import transformers
from diffusers.hooks import apply_layerwise_casting
from torch import nn

from app.core.memory_parts import DENOISERS
from app.engines.diffusers.load.load_plan import LoadPlan

STORED_DTYPE = torch.float8_e4m3fn
# Normalisation is no linear layer and stays as it is; the linear layers inside such modules (the modulation of FLUX and
# SD 3.5 is a quarter of all numbers) are cast, as in the float8 files that others publish.
_NEVER = ("pos_embed", "patch_embed", "^proj_in$", "^proj_out$", r"\blora_", "hada_", "lokr_")
_NEVER_IN_ENCODERS = ("embed", "shared", "lm_head", r"\blora_", "visual", "vision")  # tables may be tied to the head
_MODULE_OF_NORMS = "norm"
_CAST_LAYERS = (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # and others, which stay until all is moved


def part_class(kind: str) -> Any:
    """The class that `kind` (library and class) names; None when it belongs to neither library."""
    library, _, name = kind.partition(".")
    module = {"diffusers": diffusers, "transformers": transformers}.get(library)
    return getattr(module, name, None) if module is not None else None


def skip_patterns(part: str, kind: str) -> tuple[str, ...]:
    """Patterns of the modules of `part` that are not cast: those that its class names, and those that read their own
    dtype."""
    found = part_class(kind)
    wider = [re.escape(name) for name in float32_names(found, torch.float16)]
    named = getattr(found, "_skip_layerwise_casting_patterns", None) or ()
    usual = _NEVER if part.startswith(DENOISERS) else _NEVER_IN_ENCODERS
    return tuple(dict.fromkeys(name for name in (*usual, *named, *wider) if name != _MODULE_OF_NORMS))


def float32_names(found: Any, dtype: torch.dtype) -> tuple[str, ...]:
    """Names of modules whose weights a class keeps in float32 when it is loaded in `dtype`."""
    if found is None or dtype is torch.float32:
        return ()
    usual = getattr(found, "_keep_in_fp32_modules", None) or ()
    strict = getattr(found, "_keep_in_fp32_modules_strict", None) or ()
    if issubclass(found, transformers.PreTrainedModel) and dtype is not torch.float16:
        usual = ()  # transformers keeps these for float16 only
    return tuple(dict.fromkeys((*usual, *strict)))


def is_cast(tensor: str, dimensions: int, patterns: tuple[str, ...]) -> bool:
    """Whether a weight of that name is stored in float8: it belongs to a linear layer, a convolution or a table."""
    module = tensor.rpartition(".")[0]
    return dimensions > 1 and tensor.endswith(".weight") and not any(_above(module, one) for one in patterns)


def cast_part(model: Any, part: str, kind: str, load_plan: LoadPlan, device: torch.device | None = None) -> None:
    """Store the layers of `model` in float8 if the plan says so. With `device` they are moved to it one by one as they
    are cast, so that main memory holds one at a time."""
    if part not in load_plan.compression.cast:
        return
    patterns = skip_patterns(part, kind)
    if device is not None:
        for name, module in model.named_modules():
            if isinstance(module, _CAST_LAYERS) and not any(_above(name, pattern) for pattern in patterns):
                module.to(device=device, dtype=STORED_DTYPE)
    apply_layerwise_casting(model, STORED_DTYPE, load_plan.dtype_of(part), skip_modules_pattern=patterns)


def _above(module: str, pattern: str) -> bool:
    """Whether `pattern` matches the module or one that contains it: diffusers skips all of a module."""
    steps = module.split(".")
    return any(re.search(pattern, ".".join(steps[: count + 1])) for count in range(len(steps)))
