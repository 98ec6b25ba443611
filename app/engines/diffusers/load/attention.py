"""Selects and installs a pipeline's attention kernels.

`set_attention_backend` of diffusers does nothing on SD 3, SDXL, SD 1.5 and Sana and yet changes the whole process, so
it is not used. `enable_xformers_memory_efficient_attention` works on FLUX, SD 3 and the UNets; on Sana it silently
replaces linear attention by a different computation, so it is used only for families known to be safe.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from app.core.families.lookup import family_of
from app.core.faults import Fault, fault_of
from app.engines.attention_check import attention_problem
from app.engines.diffusers.load.errors import warn_once

_NATIVE_IS_FASTER = (9, 0)  # Hopper and later: cuDNN and flash kernels behind torch's own attention win there


def choose_attention(asked: str, pipeline_class: str, device: torch.device) -> str:
    """`native` or `xformers`. `asked` is one of them or `auto`; an unsupported choice is logged once."""
    if asked == "native":
        return "native"
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


def apply_attention(pipeline: Any, attention: str, device: torch.device) -> str:
    """Install `attention` in `pipeline`; returns what is really in use: `native` when xformers does not work here."""
    if attention != "xformers":
        return "native"
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


@cache
def _xformers_problem(device: torch.device) -> str:
    """Why it cannot be used on `device`, tried once per process."""
    return attention_problem("xformers", device)
