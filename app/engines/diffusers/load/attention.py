"""Selects and installs a pipeline's attention kernels.

`set_attention_backend` of diffusers does nothing on SD 3, SDXL, SD 1.5 and Sana and yet changes the default of the
whole process: that is put back, and where it does nothing that is said. `enable_xformers_memory_efficient_attention`
works on FLUX, SD 3 and the UNets; on Sana it silently replaces linear attention by a different computation, so it is
used only for families known to be safe.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from diffusers.models.attention_dispatch import (
    AttentionBackendName,
    _AttentionBackendRegistry,
    _check_attention_backend_requirements,
    _maybe_download_kernel_for_backend,
    dispatch_attention_fn,
)

from app.core.families.lookup import family_of
from app.core.faults import Fault, fault_of
from app.core.memory_parts import DENOISERS
from app.engines.attention_check import attention_problem, problem_of
from app.engines.diffusers.load.errors import warn_once

_NATIVE_IS_FASTER = (9, 0)  # Hopper and later: cuDNN and flash kernels behind torch's own attention win there


def choose_attention(asked: str, pipeline_class: str, device: torch.device) -> str:
    """`native`, `xformers`, or another name of diffusers' dispatcher if `asked` is one; an unsupported choice is logged
    once, here or when it is applied."""
    if asked not in ("auto", "xformers"):
        return asked
    if device.type != "cuda":
        if asked == "xformers":
            warn_once(f"xformers has no kernels for {device.type}: native attention is used.")
        return "native"
    family = family_of(pipeline_class)
    if family is None or not family.xformers:
        if asked == "xformers":
            warn_once(f"xformers would change what {pipeline_class} computes: native attention is used.")
        return "native"
    if asked == "auto" and torch.cuda.get_device_capability(device) >= _NATIVE_IS_FASTER:
        return "native"
    return "xformers"


def apply_attention(pipeline: Any, attention: str, device: torch.device, dtype: torch.dtype = torch.float32) -> str:
    """Install `attention` in `pipeline`, which computes in `dtype`; returns what is really in use: `native` when the
    other does not work here."""
    if attention == "native":
        return "native"
    if attention != "xformers":
        return _dispatch(pipeline, attention, device, dtype)
    if problem := _xformers_problem(device):
        warn_once(f"xformers does not work here ({problem}): native attention is used.")
        return "native"
    try:
        pipeline.enable_xformers_memory_efficient_attention()
    except (ImportError, ValueError, NotImplementedError, RuntimeError) as error:
        if fault_of(error) in (Fault.MEMORY, Fault.DEVICE):  # a missing library is no reason to stop, those are
            raise
        warn_once(f"xformers does not work here ({str(error).splitlines()[0][:200]}): native attention is used.")
        return "native"
    return "xformers"


def _dispatch(pipeline: Any, attention: str, device: torch.device, dtype: torch.dtype) -> str:
    parts = [part for name, part in pipeline.components.items() if name.startswith(DENOISERS) and _dispatches(part)]
    if not parts:
        warn_once(f"{type(pipeline).__name__} does not choose its kernels by name: {attention} is left out.")
        return "native"
    if problem := _dispatch_problem(attention, device, dtype):
        warn_once(f"The attention kernels {attention} do not work here ({problem}): native attention is used.")
        return "native"
    before, _ = _AttentionBackendRegistry.get_active_backend()
    try:
        for part in parts:
            part.set_attention_backend(attention)
    finally:
        _AttentionBackendRegistry.set_active_backend(before)
    return attention


def _dispatches(part: Any) -> bool:
    """Whether attention layers of `part` choose their kernels by name."""
    layers = part.modules() if isinstance(part, torch.nn.Module) else ()
    return any(hasattr(getattr(layer, "processor", None), "_attention_backend") for layer in layers)


@cache
def _dispatch_problem(attention: str, device: torch.device, dtype: torch.dtype) -> str:
    """Why kernels of diffusers' dispatcher cannot be used on `device`, tried once per process."""

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        name = AttentionBackendName(attention)
        _check_attention_backend_requirements(name)
        _maybe_download_kernel_for_backend(name)
        found: torch.Tensor = dispatch_attention_fn(query, key, value, backend=name)
        return found

    return problem_of(attend, device, dtype)


@cache
def _xformers_problem(device: torch.device) -> str:
    """Why it cannot be used on `device`, tried once per process."""
    return attention_problem("xformers", device)
