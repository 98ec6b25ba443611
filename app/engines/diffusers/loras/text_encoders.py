"""Maps a LoRA's text encoder tensors, in all naming schemes of trainers, to matrices of the encoder's layers.

diffusers is not used for this: it loses the alphas of these tensors, and knows some names only for older text encoders,
whose layers were one level deeper (`text_model.encoder…`). A layer is found by its path without that level and without
separators, so that `text_model.encoder.layers.0` and `text_model_encoder_layers_0` name the same one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from app.engines.diffusers.loras.adapters import Adapter, LoraMatrices
from app.engines.diffusers.loras.modules import UnknownAdapter, adapter_of, by_module, checked, is_special
from app.engines.diffusers.loras.skeleton import working_dtype
from app.engines.diffusers.loras.targets import LayerKey

_PARTS = {  # by how a tensor's name begins
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "lora_te3_": "text_encoder_3",
    "text_encoder.": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
    "text_encoder_3.": "text_encoder_3",
    "text_encoders.clip_l.": "text_encoder",
    "text_encoders.clip_g.": "text_encoder_2",
    "text_encoders.t5xxl.": "text_encoder_3",
}
_SIDE = re.compile(
    r"(?P<path>.+?)(?:\.lora_(?P<new>A|B|down|up)|(?:\.lora_linear_layer|[._]lora)\.(?P<old>down|up))"
    r"(?:\.default)?\.weight"
)
_ALPHA = re.compile(r"(?P<path>.+)\.alpha")
_OLD_LAYERS = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
_DOWN = ("A", "down")


class TextEncoderMismatch(Exception):
    """The LoRA does not fit the text encoder; the message is the end of a sentence."""


def changes_text_encoder(name: str) -> bool:
    return name.startswith(tuple(_PARTS))


def text_additions(
    pipeline: Any, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]
) -> dict[LayerKey, Adapter]:
    """The adapters of `tensors`, all of text encoders, by layer of `pipeline`. `metadata` is peft's configuration as
    diffusers writes it into a file, with the part before each name. Raises TextEncoderMismatch."""
    sides: dict[LayerKey, dict[str, torch.Tensor]] = {}
    alphas: dict[LayerKey, float] = {}
    indexes: dict[str, dict[str, str]] = {}
    made: dict[LayerKey, Adapter] = {}
    special = {module: roles for module, roles in by_module(tensors)[0].items() if is_special(roles)}
    for module, roles in special.items():
        part, rest = _part_of(module)
        key = part, _layer(_layers_of(pipeline, part, module), part, rest)
        try:
            made[key] = checked(pipeline, key, adapter_of(roles))
        except UnknownAdapter as problem:
            raise TextEncoderMismatch(str(problem)) from None
    for name, tensor in tensors.items():
        if name.startswith(tuple(f"{module}." for module in special)):
            continue
        part, rest = _part_of(name)
        found = _SIDE.fullmatch(rest) or _ALPHA.fullmatch(rest)
        if found is None:
            if not tensor.any():
                continue  # all zero: has no effect, and trainers write such tensors
            raise TextEncoderMismatch(f"it changes {name}, which is not done here")
        if part not in indexes:
            indexes[part] = _layers_of(pipeline, part, name)
        place = part, _layer(indexes[part], part, found["path"])
        if found.re is _ALPHA:
            alphas[place] = float(tensor)
        else:
            sides.setdefault(place, {})["down" if (found["new"] or found["old"]) in _DOWN else "up"] = tensor
    return made | {
        (part, path): _matrices(getattr(pipeline, part), (part, path), both, alphas.get((part, path)), metadata)
        for (part, path), both in sides.items()
    }


def _part_of(name: str) -> tuple[str, str]:
    start = max((start for start in _PARTS if name.startswith(start)), key=len)
    return _PARTS[start], name.removeprefix(start).removeprefix("transformer.")


def _layers_of(pipeline: Any, part: str, name: str) -> dict[str, str]:
    """The paths of a text encoder's layers by those paths without separators."""
    encoder = getattr(pipeline, part, None) if part in getattr(pipeline, "_lora_loadable_modules", ()) else None
    if not isinstance(encoder, torch.nn.Module):
        raise TextEncoderMismatch(f"the model has no part {part!r} to change ({name})")
    return {
        _plain(path): path
        for path, module in encoder.named_modules()
        if getattr(getattr(module, "weight", None), "ndim", 0) >= 2
    }


def _plain(path: str) -> str:
    return path.replace(".", "_").removeprefix("text_model_")


def _layer(index: Mapping[str, str], part: str, path: str) -> str:
    above, _, last = path.rpartition(".")
    old = f"{above}.{_OLD_LAYERS[last]}" if last in _OLD_LAYERS else path
    found = index.get(_plain(old))
    if found is None:
        raise TextEncoderMismatch(f"{part} has no layer {path}")
    return found


def _matrices(
    encoder: Any, place: LayerKey, sides: Mapping[str, torch.Tensor], alpha: float | None, metadata: Mapping[str, Any]
) -> LoraMatrices:
    part, path = place
    if len(sides) < 2:
        raise TextEncoderMismatch(f"it has only one of the two matrices of {part}.{path}")
    down, up = sides["down"], sides["up"]
    layer = encoder.get_submodule(path)
    rows, columns = layer.weight.shape[:2]
    if down.shape[1:] != (columns,) or up.shape[:1] != (rows,) or up.shape[1:] != down.shape[:1]:
        raise TextEncoderMismatch(
            f"{part} has {columns} inputs and {rows} outputs in {path}, and the LoRA is for"
            f" {down.shape[-1]} and {up.shape[0]}"
        )
    rank = down.shape[0]
    scaling = (stated_alpha(metadata, part, path, rank) if alpha is None else alpha) / rank
    dtype = working_dtype(layer.weight, encoder)
    return LoraMatrices(down.to(dtype), (up.float() * scaling).to(dtype))


def stated_alpha(metadata: Mapping[str, Any], part: str, path: str, rank: int) -> float:
    """The alpha of a layer in peft's configuration; its rank, which means a scale of 1, where there is none."""
    stated = metadata.get(f"{part}.lora_alpha")
    patterns: Mapping[str, float] = metadata.get(f"{part}.alpha_pattern") or {}
    for name, alpha in patterns.items():
        if _plain(path).endswith(_plain(name.lstrip("^"))):
            stated = alpha
    if stated is None:
        return float(rank)
    return float(stated) * (rank**0.5 if metadata.get(f"{part}.use_rslora") else 1.0)
