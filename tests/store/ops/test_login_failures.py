"""Wrong tokens are counted by minute, by all processes together."""

from __future__ import annotations

import threading

from sqlalchemy import update

from app.store.db.schema import login_failures
from app.store.ops.login_failures import WINDOW_SECONDS, LoginFailureStore
from tests.store.harness import Store


def move(store: Store, seconds: float) -> None:
    with store.database.write() as connection:
        connection.execute(update(login_failures).values(began_at=login_failures.c.began_at + seconds))


def test_they_are_counted_by_bucket(store: Store) -> None:
    failures = LoginFailureStore(store.database)
    assert failures.count(7) == (0, 0.0)
    for _ in range(3):
        failures.add(7)
    failures.add(8)
    count, seconds = LoginFailureStore(store.database).count(7)
    assert count == 3
    assert 0 < seconds <= WINDOW_SECONDS


def test_a_minute_later_the_count_begins_anew(store: Store) -> None:
    failures = LoginFailureStore(store.database)
    for _ in range(3):
        failures.add(7)
    move(store, -WINDOW_SECONDS)
    assert failures.count(7) == (0, 0.0)
    failures.add(7)
    assert failures.count(7)[0] == 1


def test_a_clock_that_was_set_back_does_not_lock_out(store: Store) -> None:
    failures = LoginFailureStore(store.database)
    failures.add(7)
    move(store, 3600.0)
    assert failures.count(7) == (0, 0.0)
    failures.add(7)
    assert failures.count(7)[0] == 1


def test_none_is_lost_when_many_come_at_once(store: Store) -> None:
    failures = LoginFailureStore(store.database)
    threads = [threading.Thread(target=lambda: [failures.add(7) for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures.count(7)[0] == 40
