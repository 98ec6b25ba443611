"""Sizes of the parts, blocks and layers that offload plans move to the GPU at a time, from the files' headers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from app.core.offload import WeightSizes
from app.engines.diffusers.load.checkpoint import DENOISERS, Checkpoint
from app.engines.diffusers.load.weights import tensor_sizes

_AHEAD = 2  # blocks of the denoiser on the GPU at a time: the running one and the prefetched one
_IN_ONE_FILE = {  # by name prefix in a single file; the rest is the denoiser
    "first_stage_model": "vae",
    "vae": "vae",
    "cond_stage_model": "text_encoder",
    "conditioner": "text_encoder",
    "text_encoders": "text_encoder",
}


@dataclass(frozen=True)
class _Part:
    """Bytes of a part: `blocks` of its largest repeated blocks, `outside` of the rest, `layer` of the largest
    tensor."""

    whole: int
    outside: int
    blocks: int
    layer: int


def weight_sizes(
    checkpoint: Checkpoint,
    item_bytes: Callable[[str], float],
    shared: Collection[str],
    stored: Mapping[str, int] = MappingProxyType({}),
) -> WeightSizes:
    """The sizes for all plans, with `item_bytes` per number of a part, and the parts `shared` in memory already. Parts
    `stored` in other files have the bytes given there, and no known blocks."""
    parts = {
        name: _measure(sizes)
        for part, files in checkpoint.files.items()
        for name, sizes in _by_part(part, files, item_bytes).items()
    }
    parts |= {name: _Part(whole=size, outside=size, blocks=0, layer=size) for name, size in stored.items()}
    return WeightSizes(
        all=sum(part.whole for name, part in parts.items() if name not in shared),
        largest_part=max((part.whole for part in parts.values()), default=0),
        largest_group=max(
            (part.outside + part.blocks if name.startswith(DENOISERS) else part.layer for name, part in parts.items()),
            default=0,
        ),
        largest_layer=max((part.layer for part in parts.values()), default=0),
    )


def _by_part(part: str, files: Collection[Path], item_bytes: Callable[[str], float]) -> dict[str, dict[str, int]]:
    """Tensor sizes of `files` by part; in a single file (part "") the parts are told apart by name prefix."""
    parts: dict[str, dict[str, int]] = defaultdict(dict)
    for file in files:
        for name, size in tensor_sizes(file, item_bytes(part)).items():
            if part:
                parts[part][name] = size
            else:
                owner = _IN_ONE_FILE.get(name.split(".")[0], "transformer")
                parts[owner][name.removeprefix("model.diffusion_model.")] = size
    return parts


def _measure(tensors: dict[str, int]) -> _Part:
    blocks: dict[str, int] = defaultdict(int)
    for name, size in tensors.items():
        steps = name.split(".")
        blocks[f"{steps[0]}.{steps[1]}" if len(steps) > 2 and steps[1].isdigit() else ""] += size
    return _Part(
        whole=sum(tensors.values()),
        outside=blocks.pop("", 0),
        blocks=sum(sorted(blocks.values())[-_AHEAD:]),
        layer=max(tensors.values(), default=0),
    )
