"""Tries kinds of attention kernels on a device: a small attention with each, compared with torch's plain computation.

That a library can be imported says little: the extension of xformers may not load, or have no kernel for this GPU.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from importlib import metadata

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

_CUDA_12_RUNTIME = "nvidia-cuda-runtime-cu12"
_SHAPE = (1, 256, 4, 64)  # batch, tokens, heads, size of a head
_TOLERANCE = 0.02  # half precision: the results are of the order of 0.1
_FAILURES = (ImportError, OSError, AttributeError, RuntimeError, NotImplementedError, ValueError)

Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def attention_problem(kind: str, device: torch.device) -> str:
    """Why attention of this `kind` cannot be used on `device`; empty when it runs and agrees with the plain one."""
    if kind == "xformers" and device.type != "cuda":
        return f"it has no kernels for {device.type}"
    return problem_of(KINDS[kind], device, torch.float32 if device.type == "cpu" else torch.float16)


def problem_of(attend: Attention, device: torch.device, dtype: torch.dtype) -> str:
    """Why `attend` cannot be used on `device` in `dtype`; empty when it runs and agrees with the plain attention."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(_SHAPE, generator=generator).to(device, dtype) for _ in range(3))
    try:
        found = attend(query, key, value).float()
    except _FAILURES as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        return (lines[0] if lines else type(error).__name__).strip()[:200]
    expected = _plain(query.float(), key.float(), value.float())
    difference = float((found - expected).abs().max())
    if difference <= _TOLERANCE:
        return ""
    return f"its result differs from native attention by {difference:.3g}"


def attention_problems(kinds: tuple[str, ...], device: torch.device) -> dict[str, str]:
    """`attention_problem` of each of `kinds`."""
    return {kind: attention_problem(kind, device) for kind in kinds}


@cache
def preload_cuda_12_runtime() -> bool:
    """Load the CUDA 12 runtime that the extension of xformers is linked with, beside the one of torch; False when its
    package is not installed. The linker then finds it by name."""
    try:
        files = metadata.files(_CUDA_12_RUNTIME) or []
    except metadata.PackageNotFoundError:
        return False
    for file in files:
        if file.name == "libcudart.so.12":
            ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)
            return True
    return False


def _plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    scores = query.transpose(1, 2) @ key.permute(0, 2, 3, 1) * query.shape[-1] ** -0.5
    return torch.matmul(scores.softmax(-1), value.transpose(1, 2)).transpose(1, 2)


def _native(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    attend = torch.nn.functional.scaled_dot_product_attention
    return attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)).transpose(1, 2)


def _only(backend: SDPBackend) -> Attention:
    def run(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel(backend):
            return _native(query, key, value)

    return run


def _xformers(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    preload_cuda_12_runtime()
    from xformers.ops import memory_efficient_attention  # after the runtime, and only where it is wanted

    found: torch.Tensor = memory_efficient_attention(query, key, value)
    return found


KINDS: dict[str, Attention] = {
    "native": _native,
    "flash": _only(SDPBackend.FLASH_ATTENTION),
    "efficient": _only(SDPBackend.EFFICIENT_ATTENTION),
    "cudnn": _only(SDPBackend.CUDNN_ATTENTION),
    "xformers": _xformers,
}
