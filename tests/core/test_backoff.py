"""Pauses between tries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.core.backoff import Backoff, jittered


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(first=2.0, longest=30.0)
    assert [backoff.seconds(failures) for failures in range(1, 8)] == [2, 4, 8, 16, 30, 30, 30]
    assert backoff.seconds(0) == 2.0
    assert backoff.seconds(10_000) == 30.0


def test_jitter_varies_in_both_directions() -> None:
    backoff = Backoff(first=4.0, longest=100.0, jitter=0.25)
    assert [backoff.seconds(1, draw) for draw in (0.0, 0.5, 1.0)] == [3.0, 4.0, 5.0]
    assert jittered(60.0, 0.2, 0.0) == 48.0


@given(
    st.floats(0.01, 1e3), st.floats(1, 1e6), st.floats(0, 1), st.integers(-5, 2000), st.floats(0, 1, allow_nan=False)
)
def test_a_pause_is_never_negative_or_longer_than_the_longest_with_jitter(
    first: float, longest: float, jitter: float, failures: int, draw: float
) -> None:
    seconds = Backoff(first, longest, jitter).seconds(failures, draw)
    assert 0 <= seconds <= longest * (1 + jitter) * (1 + 1e-9)
