"""Reads a LoRA's tensors, converts their names to diffusers', and checks that each matches a layer of the pipeline.

diffusers only warns about unknown names, and for FLUX it even widens the model's layers: so everything is checked
before the model is touched.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from diffusers.utils import convert_unet_state_dict_to_peft
from safetensors import SafetensorError, safe_open

from app.engines.diffusers.loras.text_encoders import changes_text_encoder
from app.errors import LoraIncompatible, LoraUnavailable

Tensors = Mapping[str, torch.Tensor]
_PLACE = re.compile(r"^(?P<module>.+?)\.(?P<side>lora_A|lora_B)\.weight$")
_KEY_ERRORS = (ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError, NotImplementedError)


@dataclass(frozen=True)
class Contents:
    """Contents of a LoRA file. `tensors` are the denoiser's, by `<part>.<module>.lora_A.weight`, with their `alphas`;
    `text` the text encoders', by their names in the file. `metadata` is peft's configuration, `{}` when there is none.
    """

    tensors: Tensors
    alphas: Mapping[str, Any]
    text: Tensors
    metadata: Mapping[str, Any]


def read_contents(pipeline: Any, file: Path) -> Contents:
    """Read a LoRA file. Raises LoraIncompatible when it has NaN or infinity, or names that diffusers cannot convert."""
    if not hasattr(pipeline, "load_lora_weights"):
        raise LoraIncompatible(f"{type(pipeline).__name__} takes no LoRAs.")
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
    tensors, alphas = _in_diffusers_names(pipeline, file, rest) if rest else ({}, {})
    return Contents(tensors, alphas, text, metadata)


def _in_diffusers_names(
    pipeline: Any, file: Path, tensors: dict[str, torch.Tensor]
) -> tuple[Tensors, Mapping[str, Any]]:
    asked = inspect.signature(pipeline.lora_state_dict).parameters
    more: dict[str, Any] = {"unet_config": pipeline.unet.config} if hasattr(pipeline, "unet") else {}
    if "return_alphas" in asked:
        more["return_alphas"] = True
    try:
        found = pipeline.lora_state_dict(tensors, **more)
    except _KEY_ERRORS as error:
        first = (str(error).splitlines() or [""])[0][:200]
        raise LoraIncompatible(f"diffusers cannot read the names in the LoRA {file.stem} ({first}).") from error
    named: dict[str, torch.Tensor]
    named, alphas = found if isinstance(found, tuple) else (found, None)
    named = {name: tensor for name, tensor in named.items() if not name.endswith("alpha")}
    if named and not any("lora_A" in name for name in named):
        named = convert_unet_state_dict_to_peft(named)
    return named, alphas or {}


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
