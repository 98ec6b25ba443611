"""Whether a model that leaves the GPU may wait in main memory, and which of those that wait there have to go.

Pure: it knows sizes in bytes. Those that wait are given oldest first, and the oldest go first.
"""

from __future__ import annotations

from collections.abc import Sequence

_LEAST_RESERVE = 2_000_000_000


def reserve_bytes(total: int) -> int:
    """What of `total` main memory stays free for everything else."""
    return max(_LEAST_RESERVE, total // 10)


def to_drop(waiting: Sequence[int], needed: int, free: int) -> int:
    """How many of the oldest must go so that `needed` bytes are free; all of them when even that does not suffice."""
    count = 0
    while count < len(waiting) and free < needed:
        free += waiting[count]
        count += 1
    return count


def room_for(size: int, waiting: Sequence[int], free: int, reserve: int) -> int | None:
    """How many of the oldest must go so that a model of `size` bytes may wait too and `reserve` stays free. None: it
    may not, and then nobody has to go for it."""
    if free + sum(waiting) < size + reserve:
        return None
    return to_drop(waiting, size + reserve, free)
