"""Models that may be parked in main memory, and those that are evicted."""

from __future__ import annotations

import pytest

from app.core.parking import count_to_evict, evictions_to_park, reserve_bytes

GB = 1_000_000_000


@pytest.mark.parametrize(("total", "reserve"), [(8, 2), (20, 2), (64, 6.4), (512, 51.2)])
def test_a_tenth_and_at_least_two_gigabytes_stay_free(total, reserve) -> None:
    assert reserve_bytes(total * GB) == int(reserve * GB)


@pytest.mark.parametrize(
    ("waiting", "needed", "free", "dropped"),
    [
        ([], 10, 10, 0),
        ([], 10, 0, 0),
        ([4, 4], 10, 10, 0),
        ([4, 4], 10, 9, 1),
        ([4, 4], 10, 6, 1),
        ([4, 4], 10, 5, 2),
        ([4, 4], 10, 0, 2),  # and it does not suffice
    ],
)
def test_the_oldest_go_and_no_more_than_needed(waiting, needed, free, dropped) -> None:
    assert count_to_evict(waiting, needed, free) == dropped


@pytest.mark.parametrize(
    ("size", "waiting", "free", "dropped"),
    [
        (10, [], 12, 0),
        (10, [], 11, None),  # 2 are to stay free
        (10, [5, 7], 12, 0),
        (10, [5, 7], 7, 1),
        (10, [5, 7], 6, 2),
        (10, [5, 7], 0, 2),
        (11, [5, 7], 0, None),  # not enough even then: none is evicted
    ],
)
def test_a_model_may_wait_when_the_reserve_stays(size, waiting, free, dropped) -> None:
    assert evictions_to_park(size, waiting, free, reserve=2) == dropped
