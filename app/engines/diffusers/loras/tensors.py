"""Reads a LoRA's tensors, converts their names to diffusers', and checks that each matches a layer of the pipeline.

diffusers only warns about unknown names, and for FLUX it even widens the model's layers: so everything is checked
before the model is touched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from safetensors import SafetensorError, safe_open

from app.engines.diffusers.loras.adapters import Adapter
from app.engines.diffusers.loras.modules import (
    Roles,
    UnknownAdapter,
    adapter_of,
    by_module,
    checked,
    is_special,
    shape_of,
)
from app.engines.diffusers.loras.targets import KEY_ERRORS, LayerKey, in_diffusers_names, targets_of
from app.engines.diffusers.loras.text_encoders import changes_text_encoder, stated_alpha
from app.errors import LoraIncompatible, LoraUnavailable

Tensors = Mapping[str, torch.Tensor]
_PLACE = re.compile(r"^(?P<module>.+?)\.(?P<side>lora_A|lora_B)\.weight$")
_BIAS = ".lora_B.bias"


@dataclass(frozen=True)
class Contents:
    """Contents of a LoRA file. `tensors` are the denoiser's, by `<part>.<module>.lora_A.weight`, with their `alphas`;
    `text` the text encoders', by their names in the file. `adapters` are those of the denoiser that diffusers does not
    read, by layer, and `biases` what the LoRAs in `tensors` have beside their matrices. `metadata` is peft's
    configuration, `{}` when there is none.
    """

    tensors: Tensors
    alphas: Mapping[str, Any]
    text: Tensors
    metadata: Mapping[str, Any]
    adapters: Mapping[LayerKey, Adapter] = field(default_factory=dict)
    biases: Mapping[LayerKey, torch.Tensor] = field(default_factory=dict)


def read_contents(pipeline: Any, file: Path) -> Contents:
    """Read a LoRA file. Raises LoraIncompatible when it has NaN or infinity, UnknownAdapter when it does not fit the
    layers of `pipeline`."""
    try:
        with safe_open(file, "pt") as opened:
            whole = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # it is no mapping
            metadata = _adapter_metadata(opened.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise LoraUnavailable(f"The LoRA {file.name} cannot be read ({str(error)[:200]}). Fetch it again.") from error
    for name, tensor in whole.items():
        if not _is_finite(tensor):
            raise LoraIncompatible(
                f"The LoRA {file.name} is damaged: its tensor {name} holds NaN or infinity. Train or fetch it again."
            )
    text = {name: tensor for name, tensor in whole.items() if changes_text_encoder(name)}
    rest = {name: tensor for name, tensor in whole.items() if name not in text}
    empty = Contents({}, {}, text, metadata)
    return _denoisers(pipeline, rest, empty) if rest else empty


def _denoisers(pipeline: Any, tensors: dict[str, torch.Tensor], contents: Contents) -> Contents:
    """`contents` with the tensors of the denoiser, as diffusers names them where it can, else by their own names."""
    modules, _ = by_module(tensors)
    special = {module: roles for module, roles in modules.items() if is_special(roles)}
    contents = _special(pipeline, special, contents)
    plain = {name: tensor for name, tensor in tensors.items() if not _is_of(name, special)}
    return _plain(pipeline, plain, contents) if plain else contents


def _special(pipeline: Any, modules: Mapping[str, Roles], contents: Contents) -> Contents:
    targets = targets_of(pipeline, {module: shape_of(roles) for module, roles in modules.items()})
    if missing := next((module for module in modules if module not in targets), None):
        raise UnknownAdapter(f"the model has no layer {missing}")
    made = {
        key: checked(pipeline, key, adapter_of(modules[module], _alpha_of(contents, key, modules[module]), rows))
        for module, found in targets.items()
        for key, rows in found
    }
    return replace(contents, adapters={**contents.adapters, **made})


def _plain(pipeline: Any, tensors: dict[str, torch.Tensor], contents: Contents) -> Contents:
    problem = f"{type(pipeline).__name__} takes no LoRAs"
    if hasattr(pipeline, "lora_state_dict"):
        try:
            named, alphas = in_diffusers_names(pipeline, dict(tensors))
            biases = {name: tensor for name, tensor in named.items() if name.endswith(_BIAS)}
            named = {name: tensor for name, tensor in named.items() if name not in biases}
            if not (problem := misfit(pipeline, named)):
                return replace(contents, tensors=named, alphas=alphas, biases=_by_layer(biases))
        except KEY_ERRORS as error:
            first = (str(error).splitlines() or [""])[0][:200]
            problem = f"diffusers cannot read its names ({first})"
    modules, unknown = by_module(tensors)
    whole = {module: roles for module, roles in modules.items() if {"down", "up"} <= roles.keys()}
    found = targets_of(pipeline, {module: shape_of(roles) for module, roles in whole.items()})
    if unknown or found.keys() != modules.keys():
        raise UnknownAdapter(problem)
    try:
        return _special(pipeline, modules, contents)
    except UnknownAdapter:
        raise UnknownAdapter(problem) from None


def _is_of(name: str, modules: Mapping[str, Roles]) -> bool:
    return any(name.startswith(f"{module}.") for module in _above(name) if module in modules)


def _above(name: str) -> list[str]:
    """All beginnings of a name that end before a dot."""
    steps = name.split(".")
    return [".".join(steps[:count]) for count in range(1, len(steps))]


def _by_layer(biases: Tensors) -> dict[LayerKey, torch.Tensor]:
    split = {name.removesuffix(_BIAS).partition(".")[::2]: tensor for name, tensor in biases.items()}
    return {(part, path): tensor for (part, path), tensor in split.items()}


def _alpha_of(contents: Contents, key: LayerKey, roles: Roles) -> float | None:
    if "down" not in roles or not contents.metadata:
        return None
    return stated_alpha(contents.metadata, *key, roles["down"].shape[0])


def _is_finite(tensor: torch.Tensor) -> bool:
    """False if `tensor` has NaN or infinity. 8-bit dtypes, which torch.isfinite does not support, are widened."""
    numbers = tensor.float() if tensor.itemsize == 1 else tensor
    return bool(torch.isfinite(numbers).all())


def _adapter_metadata(stated: Mapping[str, str]) -> Mapping[str, Any]:
    """peft's configuration, which diffusers writes into the file's metadata and other trainers do not."""
    try:
        found = json.loads(stated.get(LORA_ADAPTER_METADATA_KEY, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def misfit(pipeline: Any, tensors: Tensors) -> str:
    """Why `tensors` of a denoiser do not fit `pipeline`, naming the first mismatch; empty when all fit."""
    for name, tensor in tensors.items():
        part_name, _, rest = name.partition(".")
        part = getattr(pipeline, part_name, None) if part_name in pipeline._lora_loadable_modules else None
        if not isinstance(part, torch.nn.Module):
            return f"the model has no part {part_name!r} to change ({name})"
        place = _PLACE.match(rest)
        if place is None:
            return f"it changes {name}, which is not done here"
        if problem := _misplaced(part, place["module"], place["side"], tensor):
            return f"{part_name} {problem}"
    return ""


def _misplaced(part: torch.nn.Module, path: str, side: str, tensor: torch.Tensor) -> str:
    try:
        module = part.get_submodule(path)
    except AttributeError:
        return f"has no layer {path}"
    weight = getattr(getattr(module, "base_layer", module), "weight", None)
    if not isinstance(weight, torch.Tensor) or weight.ndim < 2:
        return f"has no weights in {path}"
    if tensor.ndim < 2:
        return ""
    ours, its = (weight.shape[1], tensor.shape[1]) if side == "lora_A" else (weight.shape[0], tensor.shape[0])
    if ours == its:
        return ""
    return f"has {ours} {'inputs' if side == 'lora_A' else 'outputs'} in {path}, and the LoRA is for {its}"
