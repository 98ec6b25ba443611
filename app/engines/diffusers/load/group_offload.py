"""The placement `group`: the denoiser's blocks wait in main memory and are copied to the device one ahead of the other,
but for those that have room there and stay.

diffusers streams all blocks. The ones that stay are left out of their lists while its hooks are put on, and are spread
evenly among the others, so that a copy has several blocks' time to arrive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.hooks import HookRegistry, apply_group_offloading

from app.core.memory_parts import DENOISERS

_CPU = torch.device("cpu")
_LEAST_STREAMED = 2  # diffusers' prefetch needs a block to begin with, and one to fetch


def offload_groups(pipeline: Any, device: torch.device, *, pinned: bool, resident_bytes: int = 0) -> None:
    """Group offloading: by block for the denoiser, with prefetch, since its layers always run in the same order; by
    layer for the other parts, which run once or twice and not always from their first layer. Blocks of up to
    `resident_bytes` in all stay on the device. Without `pinned` each block is page-locked when it is copied, which
    takes longer and no second copy of the denoiser."""
    for name, part in pipeline.components.items():
        if not isinstance(part, torch.nn.Module):
            continue
        if not getattr(part, "_supports_group_offloading", True):
            part.to(device)
        elif name.startswith(DENOISERS):
            resident_bytes -= _offload_blocks(part, device, pinned=pinned, resident_bytes=resident_bytes)
        else:
            apply_group_offloading(part, device, _CPU, offload_type="leaf_level")


def stream_all(pipeline: Any, device: torch.device, *, pinned: bool) -> None:
    """Have the blocks that stay on the device wait in main memory like the others."""
    for name, part in pipeline.components.items():
        if not isinstance(part, torch.nn.Module) or not name.startswith(DENOISERS) or not resident_blocks(part):
            continue
        registry = HookRegistry.check_if_exists_or_initialize(part)
        for hook in _HOOKS:
            registry.remove_hook(hook, recurse=True)
        part.to(_CPU)
        _offload_blocks(part, device, pinned=pinned, resident_bytes=0)


def resident_bytes_of(pipeline: Any) -> int:
    """Bytes of the blocks of a pipeline under group offloading that stay on the device."""
    denoisers = [part for name, part in pipeline.components.items() if name.startswith(DENOISERS) and part is not None]
    return sum(bytes_of(block) for part in denoisers for block in resident_blocks(part))


def resident_blocks(part: torch.nn.Module) -> list[torch.nn.Module]:
    """The blocks of a denoiser under group offloading that stay on the device."""
    blocks = _blocks(part)
    staying = [block for block in blocks if not _is_streamed(block)]
    return staying if len(staying) < len(blocks) else []


def bytes_of(block: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*block.parameters(), *block.buffers()))


_HOOKS = ("group_offloading", "layer_execution_tracker", "lazy_prefetch_group_offloading")  # as diffusers names them


def _offload_blocks(part: torch.nn.Module, device: torch.device, *, pinned: bool, resident_bytes: int) -> int:
    """Returns the bytes of the blocks that stay."""
    ahead = device.type == "cuda"
    staying = spread(_blocks(part), resident_bytes)
    with _left_out(part, staying):
        apply_group_offloading(
            part,
            device,
            _CPU,
            offload_type="block_level",
            num_blocks_per_group=1,
            use_stream=ahead,
            low_cpu_mem_usage=ahead and not pinned,
        )
    for block in staying:
        block.to(device)
    return sum(bytes_of(block) for block in staying)


def spread(blocks: Sequence[torch.nn.Module], most_bytes: int) -> list[torch.nn.Module]:
    """Blocks of at most `most_bytes` in all, evenly among the others, of which there are two at least."""
    total = sum(bytes_of(block) for block in blocks)
    if not total:
        return []
    share, due, left, found = min(most_bytes / total, 1.0), 0.0, most_bytes, list[torch.nn.Module]()
    for block in blocks:
        size = bytes_of(block)
        due += share * size
        if due >= size and left >= size and len(found) < len(blocks) - _LEAST_STREAMED:
            found.append(block)
            due -= size
            left -= size
    return found


def _lists(part: torch.nn.Module) -> dict[str, torch.nn.ModuleList]:
    """The lists of blocks that diffusers streams. Parts that name their blocks themselves have none here."""
    if getattr(part, "_group_offload_block_modules", None) is not None:
        return {}
    return {name: child for name, child in part.named_children() if isinstance(child, torch.nn.ModuleList)}


def _blocks(part: torch.nn.Module) -> list[torch.nn.Module]:
    return [block for blocks in _lists(part).values() for block in blocks]


def _is_streamed(block: torch.nn.Module) -> bool:
    registry = getattr(block, "_diffusers_hook", None)
    return registry is not None and registry.get_hook(_HOOKS[0]) is not None


@contextmanager
def _left_out(part: torch.nn.Module, staying: Sequence[torch.nn.Module]) -> Iterator[None]:
    """The lists of `part` without the blocks `staying` within the block."""
    lists = _lists(part) if staying else {}
    here = {id(block) for block in staying}
    try:
        for name, blocks in lists.items():
            setattr(part, name, torch.nn.ModuleList(block for block in blocks if id(block) not in here))
        yield
    finally:
        for name, blocks in lists.items():
            setattr(part, name, blocks)
