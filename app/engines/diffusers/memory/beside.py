"""What the auxiliary models of a request take beside the model that draws."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Beside:
    """`bytes` on the device are still to be loaded; the models `resident` are there, and stay."""

    bytes: int = 0
    resident: frozenset[str] = frozenset()


NOTHING_BESIDE = Beside()
