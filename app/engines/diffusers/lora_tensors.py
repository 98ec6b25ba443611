"""The tensors of a LoRA in diffusers' own names, and whether each has its place in a pipeline.

diffusers goes on with a warning where a name leads nowhere, and for FLUX it even widens the model's own layers: so
everything is compared before it may touch the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import convert_unet_state_dict_to_peft

from app.errors import LoraIncompatible

Tensors = Mapping[str, torch.Tensor]
SAFELY = {"use_safetensors": True, "local_files_only": True}  # how files are opened: no pickles, no network
_PLACE = re.compile(r"^(?P<module>.+?)\.(?P<side>lora_A|lora_B)\.weight$")
_KEY_ERRORS = (ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError, NotImplementedError)


def read_tensors(pipeline: Any, file: Path) -> Tensors:
    """By `<part>.<module>.lora_A.weight`. Raises LoraIncompatible when diffusers cannot make sense of the names."""
    if not hasattr(pipeline, "load_lora_weights"):
        raise LoraIncompatible(f"{type(pipeline).__name__} takes no LoRAs.")
    more = {"unet_config": pipeline.unet.config} if hasattr(pipeline, "unet") else {}
    try:
        found = pipeline.lora_state_dict(str(file.parent), weight_name=file.name, **SAFELY, **more)
    except _KEY_ERRORS as error:
        first = (str(error).splitlines() or [""])[0][:200]
        raise LoraIncompatible(f"diffusers cannot read the names in the LoRA {file.stem} ({first}).") from error
    tensors: dict[str, torch.Tensor] = found[0] if isinstance(found, tuple) else found
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("alpha")}
    if tensors and not any("lora_A" in name for name in tensors):
        tensors = convert_unet_state_dict_to_peft(tensors)
    return tensors


def misfit(pipeline: Any, tensors: Tensors) -> str:
    """Why `tensors` cannot be used with `pipeline`, empty when each has its place. Names the first at fault."""
    if not tensors:
        return "it holds no tensor that diffusers can place"
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
