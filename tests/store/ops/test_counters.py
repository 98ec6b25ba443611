"""Counters for monitoring: each acceptance, end and return of a job once; and what workers add."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import insert

from app.core.job import JobStatus
from app.errors import ModelUnavailable, OutOfMemory
from app.store.db.schema import webhook_deliveries
from app.store.ops.counters import Counter, CounterStore
from app.store.queue.stats import QueueCounts, StatsStore
from tests.store.harness import Store, a_request, an_output


def figures(store: Store) -> QueueCounts:
    return StatsStore(store.database).read()


def counted(store: Store, name: str) -> dict[str, float]:
    return {key.detail: value for key, value in figures(store).counters.items() if key.name == name}


def test_nothing_is_nothing(store: Store) -> None:
    found = figures(store)
    assert found.jobs == dict.fromkeys(JobStatus, 0)
    assert (found.waiting, found.running, found.counters) == ({}, {}, {})
    assert (found.oldest_job_age, found.webhooks, found.oldest_webhook_age) == (0.0, 0, 0.0)


def test_every_end_is_counted_by_its_outcome(store: Store) -> None:
    for _ in range(6):
        store.submit()
    store.complete(store.claim())
    store.claims.fail(store.claim(), OutOfMemory())
    store.claims.fail(store.claim(), ModelUnavailable())
    claim = store.claim()
    store.jobs.cancel(claim.job_id)
    store.claims.cancelled(claim)
    store.jobs.cancel(store.jobs.waiting()[0].id)
    poison = store.claim()
    store.edit(poison.job_id, interruptions=9)
    store.lose(poison)
    assert counted(store, "jobs_accepted") == {"": 6}
    outcomes = {"completed": 1, "out_of_memory": 1, "model_unavailable": 1, "cancelled": 2, "worker_died": 1}
    assert counted(store, "jobs_ended") == outcomes
    assert counted(store, "jobs_returned") == {}


def test_what_goes_back_in_line_is_counted_by_its_reason(store: Store) -> None:
    for _ in range(3):
        store.submit()
    store.claims.fail(store.claim(), ModelUnavailable(), retry_in=5)
    store.lose(store.claim())
    store.claims.release(store.claim())
    assert counted(store, "jobs_returned") == {"model_unavailable": 1, "worker_died": 1, "released": 1}
    assert counted(store, "jobs_ended") == {}


def test_a_job_that_is_tried_again_by_its_client_ends_twice(store: Store) -> None:
    job = store.submit()
    store.claims.fail(store.claim(), OutOfMemory())
    store.jobs.retry(job.id, max_attempts=1)
    store.complete(store.claim())
    assert counted(store, "jobs_ended") == {"out_of_memory": 1, "completed": 1}
    assert counted(store, "jobs_accepted") == {"": 1}
    assert counted(store, "jobs_returned") == {}  # its client put it back, no attempt did


def test_the_line_by_model_and_the_age_of_its_oldest(store: Store) -> None:
    old = store.submit("a")
    store.submit("a")
    store.submit("b")
    store.edit(old.id, created_at=store.now() - 500)
    assert 499 < figures(store).oldest_job_age < 600
    assert store.claim().job_id == old.id
    found = figures(store)
    assert (found.running, found.waiting) == ({"a": 1}, {"a": 1, "b": 1})
    assert 0 <= found.oldest_job_age < 60


def test_what_workers_add_adds_up(store: Store) -> None:
    counters = CounterStore(store.database)
    counters.add({})
    counters.add({Counter("steps", "a"): 16, Counter("phase_seconds", "a", "generating"): 0.25})
    counters.add({Counter("steps", "a"): 4, Counter("steps", "b"): 1})
    assert figures(store).counters == {
        Counter("steps", "a"): 20,
        Counter("steps", "b"): 1,
        Counter("phase_seconds", "a", "generating"): 0.25,
    }


def test_many_at_once_lose_nothing(store: Store) -> None:
    counters = CounterStore(store.database)
    both = [Counter("steps", "a"), Counter("steps", "b")]

    def add(number: int) -> None:
        for _ in range(10):
            counters.add(dict.fromkeys(both if number % 2 else reversed(both), 1))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    assert [figures(store).counters[each] for each in both] == [40, 40]


def test_webhooks_that_wait(store: Store) -> None:
    row = {"job_id": "j", "event": "e", "url": "u", "receiver": "r", "payload": "p", "attempt": 0, "tries_left": 1}
    now = store.now()
    states = [("a", "PENDING", now - 90), ("b", "PENDING", now + 60), ("c", "DELIVERED", now - 999)]
    with store.database.write() as connection:
        for delivery_id, state, due in states:
            values = row | {"id": delivery_id, "state": state, "due_at": due, "created_at": due}
            connection.execute(insert(webhook_deliveries).values(values))
    found = figures(store)
    assert found.webhooks == 2
    assert 80 < found.oldest_webhook_age < 150


def test_the_request_that_submitted_a_job_goes_with_it(store: Store) -> None:
    job, _ = store.jobs.enqueue(a_request(), client_id="alice", request_id="r-1")
    claim = store.claim()
    assert (job.request_id, claim.request_id) == ("r-1", "r-1")
    store.claims.complete(claim, [an_output(job.id)], timings={}, vram_peak_bytes=5)
    assert store.jobs.get(job.id).vram_peak_bytes == 5
