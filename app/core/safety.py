"""Results and policies of the safety filter."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

SafetyPolicy = Literal["block", "blur", "mark"]


class SafetyResult(StrEnum):
    """Ordered by severity."""

    SKIPPED = "skipped"  # no filter was run
    PASSED = "passed"
    MARKED = "marked"  # flagged, and published as it is
    BLURRED = "blurred"  # flagged, and published unrecognisable
    BLOCKED = "blocked"  # flagged, and not published


def most_severe(results: Iterable[SafetyResult]) -> SafetyResult:
    """The most severe result of several pictures."""
    order = list(SafetyResult)
    return max(results, key=order.index, default=SafetyResult.SKIPPED)
