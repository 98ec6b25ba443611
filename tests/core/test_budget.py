"""A budget never exceeds its total, is granted in order, and does not block for ever."""

from __future__ import annotations

import threading

import pytest

from app.core.budget import Budget
from app.errors import Unavailable
from tests.waiting import PATIENCE, wait_until


def test_no_more_than_the_total_is_in_use_at_a_time() -> None:
    budget = Budget(10, most_waiting=100, timeout=PATIENCE)
    held, peaks, lock = [0], [], threading.Lock()

    def use(amount: int) -> None:
        with budget.taking(amount):
            with lock:
                held[0] += min(amount, 10)
                peaks.append(held[0])
            with lock:
                held[0] -= min(amount, 10)

    threads = [threading.Thread(target=use, args=(1 + number % 12,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert (len(peaks), held[0]) == (60, 0)
    assert max(peaks) <= 10
    with budget.taking(10):
        pass


def test_small_requests_do_not_overtake_a_large_one() -> None:
    budget = Budget(10, most_waiting=100, timeout=PATIENCE)
    order: list[int] = []

    def use(amount: int) -> None:
        with budget.taking(amount):
            order.append(amount)

    threads = [threading.Thread(target=use, args=(amount,)) for amount in (10, 1)]
    with budget.taking(5):
        for number, thread in enumerate(threads, 1):
            thread.start()
            wait_until(lambda number=number: len(budget._waiting) == number, "it does not wait")
    for thread in threads:
        thread.join(PATIENCE)
    assert order == [10, 1]


def test_a_long_wait_or_a_full_queue_raises_unavailable_with_a_retry_time() -> None:
    budget = Budget(1, most_waiting=1, timeout=0.01)
    with budget.taking(1):
        with pytest.raises(Unavailable) as refused:
            budget.acquire(1)
        assert refused.value.retry_after
    full = Budget(1, most_waiting=0, timeout=PATIENCE)
    with pytest.raises(Unavailable):
        full.acquire(1)
    with budget.taking(1):
        pass


def test_an_exception_releases_the_amount() -> None:
    budget = Budget(1, most_waiting=1, timeout=0.01)
    with pytest.raises(ZeroDivisionError), budget.taking(1):
        raise ZeroDivisionError
    with budget.taking(1):
        pass
