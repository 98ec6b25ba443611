"""Which options are worth trying for a model on a device."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import torch

from app.core.catalog import ModelSpec
from app.core.families.lookup import caches_of
from app.core.tuned_profiles import Goal, TunedOptions

# In the order in which they are tried: what costs least to try first. Each is tried alone, then with the better ones.
_LAYOUTS: tuple[dict[str, Any], ...] = ({"vae_channels_last": True}, {"fuse_qkv": True})
_KERNELS_BY_PACKAGE = {"flash": "flash_attn", "_flash_3": "flash_attn_interface", "sage": "sageattention"}
_CUDA_KERNELS = ("_native_cudnn", "_native_flash", "xformers")
_CACHES: tuple[dict[str, Any], ...] = (
    {"kind": "first-block", "threshold": 0.05},
    {"kind": "first-block", "threshold": 0.1},
    {"kind": "taylorseer", "interval": 3},
    {"kind": "mag", "threshold": 0.06},
    {"kind": "pyramid", "interval": 2},
    {"kind": "faster", "interval": 2},
    {"kind": "sea", "threshold": 0.25},
)
_FLOAT8_CAPABILITY = (8, 9)


def single_options(spec: ModelSpec, pipeline_class: str, device: torch.device, goal: Goal) -> Sequence[TunedOptions]:
    """Options to try one by one: those that the line of `spec` leaves open, the family can use, and whose packages are
    installed."""
    found: list[dict[str, Any]] = []
    if goal == "least-memory":
        found += _for_memory(device)
    else:
        found += _LAYOUTS
        found += [{"attention": name} for name in _kernels(device)]
        found += [{"cache": cache} for cache in _CACHES if cache["kind"] in caches_of(pipeline_class)]
        found += [{"quantization": name} for name in _dynamic(device)]
        found.append({"compile": "regional"})
    written = spec.options.model_fields_set
    return [TunedOptions.model_validate(each) for each in found if written.isdisjoint(each)]


def together(one: TunedOptions, other: TunedOptions) -> TunedOptions | None:
    """Both; None where they set the same option or cannot be combined."""
    first, second = one.model_dump(exclude_unset=True), other.model_dump(exclude_unset=True)
    both = {**first, **second}
    narrowed = both.get("quantization") is not None or both.get("layerwise_casting")
    if first.keys() & second.keys() or (both.get("fuse_qkv") and narrowed):
        return None
    if both.get("quantization") is not None and both.get("layerwise_casting"):
        return None
    return TunedOptions.model_validate(both)


def _kernels(device: torch.device) -> list[str]:
    if device.type != "cuda":
        return []
    packaged = [name for name, package in _KERNELS_BY_PACKAGE.items() if importlib.util.find_spec(package)]
    return [*_CUDA_KERNELS, *packaged]


def _dynamic(device: torch.device) -> list[str]:
    if importlib.util.find_spec("torchao") is None:
        return []
    capable = device.type == "cuda" and torch.cuda.get_device_capability(device) >= _FLOAT8_CAPABILITY
    return [*(["torchao-float8-dynamic"] if capable else []), "torchao-int8-dynamic"]


def _for_memory(device: torch.device) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"vae_tiling": True}, {"layerwise_casting": True}]
    if importlib.util.find_spec("torchao") is not None:
        found.append({"quantization": "torchao-int8"})
    if device.type == "cuda":
        found += [{"offload": "model"}, {"offload": "group"}]
    return found
