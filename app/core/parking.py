"""Decides which models stay parked in main memory after leaving the GPU.

Pure: sizes in bytes. Parked models are given oldest first, and evicted in this order.
"""

from __future__ import annotations

from collections.abc import Sequence

_LEAST_RESERVE = 2_000_000_000


def reserve_bytes(total: int) -> int:
    """How much of `total` main memory must stay free."""
    return max(_LEAST_RESERVE, total // 10)


def count_to_evict(waiting: Sequence[int], needed: int, free: int) -> int:
    """How many of the oldest must be evicted to have `needed` bytes free; all of them if even that is not enough."""
    count = 0
    while count < len(waiting) and free < needed:
        free += waiting[count]
        count += 1
    return count


def evictions_to_park(size: int, waiting: Sequence[int], free: int, reserve: int) -> int | None:
    """How many of the oldest must be evicted to park a model of `size` bytes and keep `reserve` free. None: it does not
    fit, so none is evicted for it."""
    if free + sum(waiting) < size + reserve:
        return None
    return count_to_evict(waiting, size + reserve, free)
