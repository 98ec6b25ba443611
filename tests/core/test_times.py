"""Times in JSON."""

from __future__ import annotations

import math
import random
from datetime import datetime

import pytest

from app.core.times import iso


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1763661540.123, "2025-11-20T17:59:00.123Z"),
        (1763661540.9999998, "2025-11-20T17:59:00.999Z"),
        (1763661540.0, "2025-11-20T17:59:00.000Z"),
    ],
)
def test_a_time_is_written_to_the_millisecond_in_which_it_was(seconds: float, written: str) -> None:
    assert iso(seconds) == written


def test_a_time_read_back_is_never_later_and_less_than_a_millisecond_earlier() -> None:
    """Otherwise a list `since` the time of one of its entries would leave that entry out."""
    chosen = random.Random(5)
    for _ in range(20_000):
        near = chosen.randrange(1_700_000_000_000, 1_900_000_000_000) / 1000
        for seconds in (near, math.nextafter(near, 0), math.nextafter(near, math.inf), near - 4e-7, near + 4e-7):
            back = datetime.fromisoformat(iso(seconds)).timestamp()
            assert back <= seconds < back + 0.001 + 5e-7
            assert iso(back) == iso(seconds)
