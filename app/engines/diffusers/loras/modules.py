"""The tensors of a LoRA file by the module that they change, and an adapter made of those of one module."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from app.engines.diffusers.loras.adapters import Adapter, Hadamard, Kronecker, LoraMatrices, Rows

Roles = Mapping[str, torch.Tensor]
_ROLE = re.compile(
    r"(?P<module>.+?)\.(?:"
    r"(?P<down>(?:lora_A|lora_down|lora\.down|lora_linear_layer\.down)(?:\.default)?\.weight)"
    r"|(?P<up>(?:lora_B|lora_up|lora\.up|lora_linear_layer\.up)(?:\.default)?\.weight)"
    r"|(?P<mid>lora_mid\.weight)|(?P<bias>lora_B(?:\.default)?\.bias|diff_b)|(?P<alpha>alpha)"
    r"|(?P<magnitude>dora_scale|lora_magnitude_vector(?:\.default)?(?:\.weight)?)"
    r"|(?P<other>(?:lokr_w[12](?:_[ab])?|lokr_t2|hada_[wt][12](?:_[ab])?)))"
)
_SPECIAL = ("magnitude", "mid", "lokr_", "hada_")


class UnknownAdapter(Exception):
    """The tensors of a module make no adapter; the message is the end of a sentence."""


def by_module(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, dict[str, torch.Tensor]], list[str]]:
    """The tensors by module and role (`down`, `up`, `alpha`, `lokr_w1`, …), and the names that have none."""
    modules: dict[str, dict[str, torch.Tensor]] = {}
    unknown: list[str] = []
    for name, tensor in tensors.items():
        found = _ROLE.fullmatch(name)
        if found is None:
            unknown.append(name)
            continue
        role = found["other"] or str(found.lastgroup)
        modules.setdefault(found["module"], {})[role] = tensor
    return modules, unknown


def is_special(roles: Roles) -> bool:
    """Whether diffusers does not read such a module, or only for some families: DoRA, LoKr, LoHa, LoCon with a core."""
    return any(role.startswith(_SPECIAL) for role in roles)


def shape_of(roles: Roles) -> tuple[int, int]:
    """Outputs and inputs of the module that `roles` change; inputs of a flattened kernel include its size.
    Raises UnknownAdapter."""
    try:
        return _shape_of(roles)
    except KeyError as missing:
        raise UnknownAdapter(f"it lacks {str(missing.args[0]).removesuffix('_a')}") from None


def _shape_of(roles: Roles) -> tuple[int, int]:
    if "down" in roles:
        return roles["up"].shape[0], roles["down"].shape[1]
    if "hada_w1_a" in roles:
        core = "hada_t1" in roles
        return roles["hada_w1_a"].shape[1 if core else 0], roles["hada_w1_b"].shape[1]
    left, right = _factor(roles, "lokr_w1"), _factor(roles, "lokr_w2")
    return left.shape[0] * right.shape[0], left.shape[1] * right.shape[1]


def adapter_of(roles: Roles, stated_alpha: float | None = None, rows: Rows = None) -> Adapter:
    """The adapter that a module's tensors describe, with its scale, in float32. `stated_alpha` is that of the file's
    metadata; `rows` are those of a fused module that belong to one layer. Raises UnknownAdapter."""
    roles = {role: tensor.float() for role, tensor in roles.items()}
    alpha = float(roles["alpha"]) if "alpha" in roles else stated_alpha
    try:
        if "hada_w1_a" in roles:
            return _hadamard(roles, alpha, rows)
        if any(role.startswith("lokr_") for role in roles):
            return _kronecker(roles, alpha, rows)
        return _lora(roles, alpha, rows)
    except KeyError as missing:
        raise UnknownAdapter(f"it lacks {str(missing.args[0]).removesuffix('_a')}") from None


def checked(pipeline: Any, key: tuple[str, str], adapter: Adapter) -> Adapter:
    """`adapter`, if it can change its layer. Raises UnknownAdapter."""
    part, path = key
    layer = dict(getattr(pipeline, part).named_modules()).get(path)
    if layer is None or not isinstance(layer.weight, torch.Tensor):
        raise UnknownAdapter(f"{part} has no layer {path}")
    outputs, inputs = adapter.shape(layer)
    rows, columns = layer.weight.shape[0], layer.weight.shape[1:].numel()
    if (outputs, inputs) != (rows, columns):
        raise UnknownAdapter(
            f"{part} has {columns} inputs and {rows} outputs in {path}, and it is for {inputs} and {outputs}"
        )
    return adapter


def _lora(roles: Roles, alpha: float | None, rows: Rows) -> Adapter:
    down, up = roles["down"], roles["up"]
    rank = down.shape[0]
    if "mid" in roles:  # LoCon with a core: one kernel for `down` and the core
        down = torch.einsum("ij...,jr->ir...", roles["mid"], down.flatten(1))
    share = (rank if alpha is None else alpha) / rank
    made = LoraMatrices(down, (up if rows is None else up[rows]) * share, bias=roles.get("bias"))
    if "magnitude" not in roles:
        return made
    magnitude = roles["magnitude"]
    if magnitude.numel() != roles["up"].shape[0] or magnitude.shape[0] != magnitude.numel():
        raise UnknownAdapter("its DoRA has a magnitude for each input instead of each output, which is not supported")
    values = magnitude.flatten()
    return replace(made, magnitude=values if rows is None else values[rows])


def _kronecker(roles: Roles, alpha: float | None, rows: Rows) -> Kronecker:
    ranks = [roles[name].shape[0] for name in ("lokr_w2_b", "lokr_w1_b") if name in roles]
    share = alpha / ranks[0] if ranks and alpha is not None else 1.0  # of two full matrices alpha means nothing
    return Kronecker(_factor(roles, "lokr_w1") * share, _factor(roles, "lokr_w2"), rows)


def _factor(roles: Roles, name: str) -> torch.Tensor:
    if name in roles:
        return roles[name]
    a, b = roles[f"{name}_a"], roles[f"{name}_b"]
    if name == "lokr_w2" and "lokr_t2" in roles:
        return torch.einsum("ijkl,ip,jr->prkl", roles["lokr_t2"], a, b).contiguous()
    return a @ b


def _hadamard(roles: Roles, alpha: float | None, rows: Rows) -> Hadamard:
    up, down = roles["hada_w1_a"], roles["hada_w1_b"]
    share = 1.0 if alpha is None else alpha / down.shape[0]
    cores = roles.get("hada_t1"), roles.get("hada_t2")
    return Hadamard(up * share, down, roles["hada_w2_a"], roles["hada_w2_b"], *cores, rows)
