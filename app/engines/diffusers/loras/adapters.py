"""Adapters of one layer: LoRA (with bias or DoRA's magnitude), LoKr and LoHa, as additions to the layer's output.

All compute `W' = W + scale · alpha / rank · ΔW` without writing to the layer: its output grows by what ΔW does to its
input. `ΔW` is `up · down` (LoRA), the Kronecker product of two matrices (LoKr), or the product, number by number, of
two low-rank matrices (LoHa). With a magnitude (DoRA) the rows of `W'` are then given that length.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import nn
from torch.nn import functional

Rows = slice | list[int] | None  # of a module that the original code has fused; None for all
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_APPLY = {nn.Conv1d: functional.conv1d, nn.Conv2d: functional.conv2d, nn.Conv3d: functional.conv3d}


@dataclass(frozen=True)
class Adapter:
    """Base class: tensors, moved and counted together."""

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}

    @property
    def bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())

    @property
    def device(self) -> torch.device:
        return next(iter(self.tensors.values())).device

    @property
    def dtype(self) -> torch.dtype:
        return next(iter(self.tensors.values())).dtype

    @property
    def finite(self) -> bool:
        return all(bool(torch.isfinite(tensor).all()) for tensor in self.tensors.values())

    def to(self, *where: Any) -> Self:
        """The adapter with its tensors on a device, or in a dtype."""
        return replace(self, **{name: tensor.to(*where) for name, tensor in self.tensors.items()})

    def shape(self, layer: Any) -> tuple[int, int]:
        """The outputs and inputs that it is for; of a convolution, inputs count once for each place of the kernel."""
        raise NotImplementedError

    def output(self, layer: Any, given: torch.Tensor, output: torch.Tensor, scale: float) -> torch.Tensor:
        """What `output`, which `layer` computed for `given`, grows by."""
        raise NotImplementedError


@dataclass(frozen=True)
class LoraMatrices(Adapter):
    """The layer's output is increased by `up · down · input + bias`; both include the scale stated in the file. With
    `magnitude` the rows of the changed weights have these lengths."""

    down: torch.Tensor
    up: torch.Tensor
    bias: torch.Tensor | None = None
    magnitude: torch.Tensor | None = None

    @property
    def is_plain(self) -> bool:
        return self.bias is None and self.magnitude is None

    def shape(self, layer: Any) -> tuple[int, int]:
        return self.up.shape[0], self.down.shape[1:].numel()

    def output(self, layer: Any, given: torch.Tensor, output: torch.Tensor, scale: float) -> torch.Tensor:
        grown = _product(layer, self.down, self.up * scale, given)
        if self.magnitude is not None:
            length = self._lengths(layer, scale).to(output.dtype)
            own_bias = 0 if layer.bias is None else _by_channel(layer, layer.bias)
            grown = _by_channel(layer, length) * grown + (_by_channel(layer, length) - 1) * (output - own_bias)
        return grown if self.bias is None else grown + _by_channel(layer, self.bias * scale)

    def _lengths(self, layer: Any, scale: float) -> torch.Tensor:
        """The magnitude of each row, divided by the length that the row has without it."""
        assert self.magnitude is not None
        change = torch.einsum("or,rk->ok", self.up.float().flatten(1), self.down.float().flatten(1))
        weight = layer.weight.float().flatten(1) + scale * change
        lengths: torch.Tensor = torch.linalg.norm(weight, dim=1)
        return self.magnitude.float() / lengths


@dataclass(frozen=True)
class Kronecker(Adapter):
    """LoKr: ΔW is the Kronecker product of `left` and `right`; of a fused layer only `rows` of it."""

    left: torch.Tensor
    right: torch.Tensor
    rows: Rows = None

    def shape(self, layer: Any) -> tuple[int, int]:
        outputs = self.left.shape[0] * self.right.shape[0]
        return _count(outputs, self.rows), self.left.shape[1] * self.right.shape[1:].numel()

    def output(self, layer: Any, given: torch.Tensor, output: torch.Tensor, scale: float) -> torch.Tensor:
        if isinstance(layer, CONVOLUTIONS):
            left = self.left.reshape(*self.left.shape, *[1] * (self.right.ndim - 2))
            change = _rows(torch.kron(left, self.right) * scale, self.rows)
            return _convolved(layer, given, change.reshape(layer.weight.shape))
        split = given.unflatten(-1, (self.left.shape[1], self.right.shape[1]))  # without the product itself
        made = torch.einsum("oi,...ij,pj->...op", self.left * scale, split, self.right).flatten(-2)
        return made if self.rows is None else made[..., self.rows]


@dataclass(frozen=True)
class Hadamard(Adapter):
    """LoHa: ΔW is the product, number by number, of `up · down` and `up_2 · down_2`; of a fused layer only `rows`."""

    up: torch.Tensor
    down: torch.Tensor
    up_2: torch.Tensor
    down_2: torch.Tensor
    core: torch.Tensor | None = None
    core_2: torch.Tensor | None = None
    rows: Rows = None

    def shape(self, layer: Any) -> tuple[int, int]:
        if self.core is None:
            return _count(self.up.shape[0], self.rows), self.down.shape[1]
        return _count(self.up.shape[1], self.rows), self.down.shape[1] * self.core.shape[2:].numel()

    def output(self, layer: Any, given: torch.Tensor, output: torch.Tensor, scale: float) -> torch.Tensor:
        change = _low_rank(self.up, self.down, self.core) * _low_rank(self.up_2, self.down_2, self.core_2) * scale
        change = _rows(change, self.rows).reshape(layer.weight.shape)
        if isinstance(layer, CONVOLUTIONS):
            return _convolved(layer, given, change)
        return functional.linear(given, change)


def _low_rank(up: torch.Tensor, down: torch.Tensor, core: torch.Tensor | None) -> torch.Tensor:
    """`up · down`, or with a core of the kernel's size in between, whose factors are transposed."""
    return up @ down if core is None else torch.einsum("ijkl,jr,ip->prkl", core, down, up)


def _count(outputs: int, rows: Rows) -> int:
    return outputs if rows is None else len(range(outputs)[rows] if isinstance(rows, slice) else rows)


def _rows(change: torch.Tensor, rows: Rows) -> torch.Tensor:
    return change if rows is None else change[rows]


def _product(layer: Any, down: torch.Tensor, up: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    if not isinstance(layer, CONVOLUTIONS):
        return functional.linear(functional.linear(given, down), up)
    made: torch.Tensor = _apply(layer)(_convolved(layer, given, down), up)
    return made


def _convolved(layer: Any, given: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    made: torch.Tensor = _apply(layer)(given, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
    return made


def _apply(layer: Any) -> Any:
    return next(apply for kind, apply in _APPLY.items() if isinstance(layer, kind))


def _by_channel(layer: Any, values: torch.Tensor) -> torch.Tensor:
    """`values`, one for each output, in a shape that fits the layer's output."""
    return values.reshape(-1, *[1] * (layer.weight.ndim - 2)) if isinstance(layer, CONVOLUTIONS) else values
