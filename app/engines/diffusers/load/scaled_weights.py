"""Weights in float8 with a scale beside each, as ComfyUI writes them, multiplied out to the dtype that is loaded.

`X.weight` has its scale in `X.scale_weight` or `X.weight_scale`: one number, or one for each row. Scales of inputs are
for multiplication in float8, which is not done here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import torch

from app.errors import ModelUnavailable

_SCALES = ("scale_weight", "weight_scale")
_UNUSED = ("scale_input", "input_scale", "comfy_quant", "scaled_fp8")
_FORMAT, _SECOND_SCALE = "comfy_quant", "weight_scale_2"  # the latter belongs to formats of 4 bits


def is_scaled(names: Iterable[str]) -> bool:
    """Whether weights in such a file have scales."""
    return any(name.rpartition(".")[2] in (*_SCALES, *_UNUSED) for name in names)


def multiplied_out(tensors: Mapping[str, torch.Tensor], dtype: torch.dtype, file: object) -> dict[str, torch.Tensor]:
    """`tensors` with the scaled ones in `dtype`, without the scales. Raises ModelUnavailable, naming `file`, for other
    formats."""
    plain: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        module, _, last = name.rpartition(".")
        if last in (_FORMAT, _SECOND_SCALE):
            _require_float8(last, tensor, file)
        if last in _SCALES or last in _UNUSED:
            continue
        scale = _scale_of(module, tensors) if last == "weight" else None
        plain[name] = tensor if scale is None else _scaled(tensor, scale).to(dtype)
    return plain


def _scale_of(module: str, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    above = f"{module}." if module else ""
    return next((tensors[f"{above}{name}"] for name in _SCALES if f"{above}{name}" in tensors), None)


def _scaled(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    if scale.numel() == weight.shape[0] != 1:  # one for each row
        scale = scale.reshape(-1, *[1] * (weight.ndim - 1))
    return weight.float() * scale.float()


def _require_float8(last: str, tensor: torch.Tensor, file: object) -> None:
    kind = "nvfp4"
    if last == _FORMAT:
        try:
            kind = str(json.loads(bytes(tensor.view(torch.uint8).tolist()))["format"])
        except (ValueError, KeyError, TypeError):
            kind = "an unknown format"
    if not kind.startswith("float8"):
        raise ModelUnavailable(
            f"{file} stores weights in {kind}, which cannot be read. Use a version of it in float8, 16 bit or GGUF."
        )
