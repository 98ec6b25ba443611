"""Chance from a seed: the same seed draws the same numbers, in every version of Python."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import accumulate

_BITS = 128  # of one draw: no number of choices is large enough for the rest of a division to matter


class Draws:
    """A sequence of draws; each is a digest of the seed and its number."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._drawn = 0

    def below(self, number: int) -> int:
        """One of 0 to `number` - 1."""
        self._drawn += 1
        digest = hashlib.sha256(f"{self._seed}:{self._drawn}".encode()).digest()
        return int.from_bytes(digest[: _BITS // 8], "big") % number

    def weighted(self, weights: Sequence[float]) -> int:
        """The place of one of `weights`, by chance as large as itself."""
        ends = list(accumulate(weights))
        at = self.below(2**64) / 2**64 * ends[-1]
        return next(place for place, end in enumerate(ends) if at < end)

    def some(self, number: int, of: int) -> list[int]:
        """`number` different places below `of`, in their order."""
        chosen: list[int] = []
        moved: dict[int, int] = {}  # a shuffle of all places, of which only those that changed are kept
        for place in range(number):
            other = place + self.below(of - place)
            chosen.append(moved.get(other, other))
            moved[other] = moved.get(place, place)
        return sorted(chosen)
