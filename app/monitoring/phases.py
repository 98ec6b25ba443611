"""Histogram buckets for the durations of job phases."""

from __future__ import annotations

import math
from bisect import bisect_left

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, math.inf)


def bound_of(seconds: float) -> str:
    """The upper bound of the bucket for `seconds`, as Prometheus writes it."""
    return label(BOUNDS[bisect_left(BOUNDS, seconds)])


def label(bound: float) -> str:
    return "+Inf" if math.isinf(bound) else repr(bound)
