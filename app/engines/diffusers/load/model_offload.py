"""The placement `model`: a part is copied to the device when it runs, and its copy dropped when the next one does.

accelerate's hooks move the weights there and back, for every picture. They do not change, so the way back is left out
here: the tensors in main memory are kept and put in place again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.hooks import CpuOffload


def offload_parts(pipeline: Any, device: torch.device) -> None:
    """Have the parts of `pipeline` wait in main memory and run on `device`."""
    pipeline.enable_model_cpu_offload(device=device)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module) and "to" not in vars(part) and _is_plain(part):
            part.to = _Originals(part).to  # type: ignore[method-assign]


@contextmanager
def staying_beside(part: Any) -> Iterator[None]:
    """Run `part` within the block beside the one that runs now: its hook would send that one back to main memory. The
    part stays on the device until the call ends."""
    hook = vars(part).get("_hf_hook")
    if not isinstance(hook, CpuOffload):
        yield
        return
    part.to(hook.execution_device)
    del part._hf_hook
    try:
        yield
    finally:
        part._hf_hook = hook


class _Originals:
    """The tensors of `part` in main memory while it is on the device. `to` stands in for the method of `part`."""

    def __init__(self, part: torch.nn.Module) -> None:
        self._part = part
        self._real = part.to
        self._kept: list[tuple[torch.Tensor, torch.Tensor]] = []

    def to(self, *arguments: Any, **options: Any) -> torch.nn.Module:
        device, dtype, *_ = torch._C._nn._parse_to(*arguments, **options)
        if dtype is None and device is not None and device.type == "cpu" and self._kept:
            for tensor, original in self._kept:
                tensor.data = original
            self._kept = []
            return self._part
        if dtype is None and device is not None and device.type != "cpu":
            self._kept = self._kept or [(tensor, tensor.data) for tensor in _tensors(self._part)]
            if any(original.device.type != "cpu" for _, original in self._kept):
                self._kept = []  # it was loaded onto the device
        else:
            self._kept = []
        return self._real(*arguments, **options)


def _tensors(part: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from part.parameters()
    yield from part.buffers()


def _is_plain(part: torch.nn.Module) -> bool:
    """Whether its weights are plain tensors: quantised ones have state of their own that moves along."""
    return all(type(tensor.data) is torch.Tensor for tensor in _tensors(part)) and all(
        type(parameter) is torch.nn.Parameter for parameter in part.parameters()
    )
