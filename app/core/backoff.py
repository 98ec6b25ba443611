"""Exponential backoff: how long to wait before the next try.

Pure: random numbers are passed in. Jitter varies a pause, so that what failed together is not tried again together.
"""

from __future__ import annotations

from dataclasses import dataclass

_MOST_DOUBLINGS = 62  # far beyond any `longest`; keeps the power finite


@dataclass(frozen=True)
class Backoff:
    """`first` seconds after the first failure, doubled with each further one in a row, at most `longest`. `jitter` is
    the share by which a pause is varied in both directions, 0 to 1."""

    first: float
    longest: float
    jitter: float = 0.0

    def seconds(self, failures: int, draw: float = 0.5) -> float:
        """The pause after `failures` in a row, at least 1. `draw` is a random number from 0 to 1; 0.5: no jitter."""
        doublings = min(max(failures, 1) - 1, _MOST_DOUBLINGS)
        return jittered(min(self.longest, self.first * 2.0**doublings), self.jitter, draw)


def jittered(seconds: float, jitter: float, draw: float) -> float:
    """`seconds` varied by the share `jitter` in both directions; `draw` is a random number from 0 to 1."""
    return seconds * (1 + jitter * (2 * draw - 1))
