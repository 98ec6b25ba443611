"""What a safety filter found about a picture, and what was done about it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

SafetyPolicy = Literal["block", "blur", "mark"]


class SafetyResult(StrEnum):
    """From the lightest to the gravest."""

    SKIPPED = "skipped"  # no filter looked at it
    PASSED = "passed"
    MARKED = "marked"  # flagged, and published as it is
    BLURRED = "blurred"  # flagged, and published unrecognisable
    BLOCKED = "blocked"  # flagged, and not published


def gravest(results: Iterable[SafetyResult]) -> SafetyResult:
    """What to say of several pictures at once."""
    order = list(SafetyResult)
    return max(results, key=order.index, default=SafetyResult.SKIPPED)
