"""The shapes of a checkpoint's parts (`core/memory_parts.py`), from the headers and configurations of its files."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from app.core.memory_parts import DENOISERS, PartShape
from app.engines.diffusers.load.casting import float32_names, is_cast, part_class, skip_patterns
from app.engines.diffusers.load.checkpoint import Checkpoint
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.part_names import own_names, role_of
from app.engines.diffusers.load.quantization import denoiser_of
from app.engines.diffusers.load.weights import Tensor, TensorCount, tensors_of

_AHEAD = 2  # blocks of the denoiser on the GPU at a time: the running one and the prefetched one
_IN_ONE_FILE = {  # by name prefix in a single file; the rest is the denoiser
    "first_stage_model": "vae",
    "vae": "vae",
    "cond_stage_model": "text_encoder",
    "conditioner": "text_encoder",
    "text_encoders": "text_encoder",
}
_DTYPES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}
_LEAST_TOKEN_SIDE = 16  # FLUX packs 2 × 2 pixels of its latents into a token without saying so


def part_shapes(checkpoint: Checkpoint, load_plan: LoadPlan, pipeline_class: Any = None) -> list[PartShape]:
    """The shapes of all parts with weights, as `load_plan` loads them before any of them is made smaller."""
    found = [
        _shape(name, checkpoint, tensors, load_plan, pipeline_class)
        for part, files in checkpoint.files.items()
        for name, tensors in _by_part(part, files, checkpoint).items()
    ]
    gguf, denoiser = load_plan.compression.gguf, load_plan.compression.denoiser
    return found if gguf is None else [_gguf_shape(gguf, denoiser), *(part for part in found if part.name != denoiser)]


def _by_part(part: str, files: Collection[Path], checkpoint: Checkpoint) -> dict[str, dict[str, Tensor]]:
    """The tensors of `files` by part; in a single file (part "") the parts are told apart by name prefix."""
    if part in checkpoint.separate:
        tensors = tensors_of(checkpoint.separate[part])
        return {part: {name: tensors[full] for name, full in own_names(list(tensors), role_of(part)).items()}}
    parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for file in files:
        for name, tensor in tensors_of(file).items():
            if part:
                parts[part][name] = tensor
                continue
            owner = _IN_ONE_FILE.get(name.split(".")[0], denoiser_of(checkpoint) or DENOISERS[0])
            if owner not in checkpoint.files:  # a VAE of its own takes the place of the file's
                parts[owner][name.removeprefix("model.diffusion_model.")] = tensor
    return parts


def _shape(
    name: str, checkpoint: Checkpoint, tensors: Mapping[str, Tensor], load_plan: LoadPlan, pipeline_class: Any
) -> PartShape:
    kind, dtype = checkpoint.kinds.get(name, ""), load_plan.dtype_of(name)
    wide, patterns = float32_names(part_class(kind), dtype), skip_patterns(name, kind)
    counts = {tensor: _as_loaded(tensor, found.count, wide, dtype) for tensor, found in tensors.items()}
    layers = {_module(tensor) for tensor, found in tensors.items() if is_cast(tensor, found.dimensions, patterns)}
    same = sum(found.count.resized for found in tensors.values() if found.dtype == _DTYPES.get(dtype))
    numbers = sum(count.resized for count in counts.values())
    return PartShape(
        name=name,
        numbers=numbers,
        castable=sum(count.resized for tensor, count in counts.items() if _module(tensor) in layers),
        item=dtype.itemsize,
        kept_bytes=sum(count.kept_bytes for count in counts.values()),
        mapped=not checkpoint.is_single_file and name not in checkpoint.separate and same >= 0.99 * numbers,
        decodes_in_float32=dtype is torch.float16 and _decodes_in_float32(checkpoint, name, pipeline_class),
        **_tokens(checkpoint, name),
        **vars(_measure({tensor: count.resized for tensor, count in counts.items()})),
    )


def _module(tensor: str) -> str:
    return tensor.rpartition(".")[0]


def _as_loaded(name: str, count: TensorCount, wide: Collection[str], dtype: torch.dtype) -> TensorCount:
    """What a tensor counts when modules in `wide` stay in float32."""
    if count.resized and any(module in name.split(".") for module in wide):
        return TensorCount(0, count.resized * torch.float32.itemsize)
    return count


@dataclass(frozen=True)
class _Repeats:
    blocks: int
    outside: int
    layer: int


def _measure(numbers: Mapping[str, int]) -> _Repeats:
    """The two largest of the repeated blocks, what is outside of them, and the largest tensor."""
    blocks: dict[str, int] = defaultdict(int)
    for name, size in numbers.items():
        steps = name.split(".")
        blocks[f"{steps[0]}.{steps[1]}" if len(steps) > 2 and steps[1].isdigit() else ""] += size
    outside = blocks.pop("", 0)
    return _Repeats(sum(sorted(blocks.values())[-_AHEAD:]), outside, max(numbers.values(), default=0))


def _gguf_shape(file: Path, denoiser: str) -> PartShape:
    """The denoiser in a GGUF file: `numbers` are bytes there, since every tensor has a width of its own."""
    sizes = {tensor.name: int(tensor.n_bytes) for tensor in importlib.import_module("gguf").GGUFReader(file).tensors}
    total = sum(sizes.values())
    return PartShape(denoiser, total, 0, item=1, gguf_bytes=total, mapped=False, **vars(_measure(sizes)))


def _decodes_in_float32(checkpoint: Checkpoint, name: str, pipeline_class: Any) -> bool:
    """SDXL's VAE overflows in float16: its pipelines widen it to decode."""
    return name == "vae" and hasattr(pipeline_class, "upcast_vae") and bool(_config(checkpoint, name)["force_upcast"])


def _tokens(checkpoint: Checkpoint, name: str) -> dict[str, int]:
    """The width of a transformer's tokens and the pixels a side that each stands for."""
    if not name.startswith(DENOISERS):
        return {}
    config, vae = _config(checkpoint, name), _config(checkpoint, "vae")
    heads, per_head = config["num_attention_heads"], config["attention_head_dim"]
    width = heads * per_head if isinstance(heads, int) and isinstance(per_head, int) else 0
    patch = config["patch_size"][-1] if isinstance(config["patch_size"], list) else config["patch_size"]
    stages = vae["block_out_channels"] or vae["encoder_block_out_channels"]
    scale = vae["scale_factor_spatial"] or vae["spatial_compression_ratio"] or 2 ** max(0, len(stages or ()) - 1)
    side = scale * patch if isinstance(scale, int) and isinstance(patch, int) else 0
    return {"width": width or config["hidden_size"] or config["dim"] or 0, "token_side": max(_LEAST_TOKEN_SIDE, side)}


def _config(checkpoint: Checkpoint, part: str) -> Mapping[str, Any]:
    """The configuration of a part; None for what it does not say."""
    found: dict[str, Any] = defaultdict(lambda: None)
    with contextlib.suppress(OSError, ValueError):
        found.update(json.loads((checkpoint.folder_of(part) / "config.json").read_text(encoding="utf-8")))
    return found
