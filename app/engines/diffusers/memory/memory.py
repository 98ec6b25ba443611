"""Measures free memory and the memory of a pipeline, in bytes. On a CPU worker, memory is RAM."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import psutil
import torch

from app.core.catalog import ModelSpec
from app.core.fit import default_size
from app.core.memory_parts import PictureSize
from app.core.memory_use import MemoryUse
from app.core.request import GenerationRequest
from app.monitoring.resources import CGROUP, rss_bytes


def is_gpu(device: torch.device) -> bool:
    return device.type == "cuda"


def device_name(device: torch.device) -> str:
    """The name of a GPU; the type of another device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def free_bytes(device: torch.device) -> int:
    """Free memory on `device`, including torch's unused cache, or within the container's limit."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + kept)
    available = int(psutil.virtual_memory().available)
    limit = _container_room()
    return available if limit is None else min(available, limit)


def memory_use(device: torch.device) -> MemoryUse:
    """Of this process, on `device` too if it is a GPU. Reads torch's own books: it is no use of the device."""
    return MemoryUse(rss_bytes(), torch.cuda.memory_allocated(device) if is_gpu(device) else None)


def _container_room() -> int | None:
    """Free memory below the container's limit, page cache counted as free; None when there is no limit."""
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(0, int(limit) - used + int(stat.get("file", 0)))


def part_bytes(pipeline: Any) -> dict[str, int]:
    """Size of the weights and buffers of each part of `pipeline`; a shared storage is counted with the first part."""
    sizes: dict[str, int] = {}
    seen: set[int] = set()
    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module):
            storages: dict[int, int] = {}
            for tensor in (*part.parameters(), *part.buffers()):
                for plain in _plain(tensor):
                    storage = plain.untyped_storage()
                    storages[storage.data_ptr() or id(plain)] = storage.nbytes()  # no address: its layer is offloaded
            sizes[name] = sum(size for key, size in storages.items() if key not in seen)
            seen |= storages.keys()
    return sizes


def _plain(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The plain tensors inside `tensor`: a quantised one consists of several."""
    if not hasattr(tensor, "__tensor_flatten__"):
        yield tensor
        return
    names, _ = tensor.__tensor_flatten__()
    for name in names:
        yield from _plain(getattr(tensor, name))


def picture_size(spec: ModelSpec, request: GenerationRequest | None = None) -> PictureSize:
    """The size that memory is planned for: the model's default, or a larger one that `request` asks for."""
    usual = default_size(spec)
    if request is None:
        return usual
    width, height, frames = usual.width, usual.height, usual.frames
    if spec.media == "video":
        frames = max(frames, request.num_frames or 1)
    if request.width and request.height and request.width * request.height > usual.pixels:
        width, height = request.width, request.height
    return PictureSize(width, height, frames)


def release() -> None:
    """Free the memory of dropped models. Call it outside of any except block: a traceback keeps tensors alive."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
