"""One claim, one owner: under concurrency no job is claimed twice and none is left."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

from app.core.job import JobStatus, Phase
from app.store.db.database import Database
from tests.store.harness import LEASE, TIMEOUT, Store, a_request

JOBS = 120


def test_an_empty_queue_returns_none(store: Store) -> None:
    assert store.claims.claim("w1") is None
    assert store.claims.claim("w1", ["demo"]) is None


def test_a_claim_hands_over_the_job_and_marks_its_owner(store: Store) -> None:
    job = store.submit("flux-dev", prompt="mine")
    claim = store.claim("w1")
    assert (claim.job_id, claim.worker_id, claim.attempt, claim.max_attempts) == (job.id, "w1", 1, 3)
    assert claim.request == a_request("flux-dev", prompt="mine")
    assert claim.deadline_in == TIMEOUT
    assert 0 <= claim.queued_seconds < 5
    taken, row = store.jobs.get(job.id), store.row(job.id)
    assert (taken.status, taken.worker_id, taken.attempt) == (JobStatus.PROCESSING, "w1", 1)
    assert taken.progress.phase is Phase.STARTING
    assert taken.revision > job.revision
    assert row.lease_expires_at == pytest.approx(store.now() + LEASE, abs=5)
    assert row.deadline_at == pytest.approx(store.now() + TIMEOUT, abs=5)


def test_the_lease_is_never_longer_than_the_deadline(database: Database) -> None:
    store = Store(database, lease=30, timeout=10)
    store.submit()
    row = store.row(store.claim().job_id)
    assert row.lease_expires_at == row.deadline_at


def test_jobs_are_served_by_priority_then_in_the_order_they_came(store: Store) -> None:
    names = [store.submit(priority=priority, prompt=str(priority)).id for priority in (0, 5, 0, 5, -1)]
    expected = [names[index] for index in (1, 3, 0, 2, 4)]
    assert [job.id for job in store.jobs.waiting()] == expected
    assert [store.claim().job_id for _ in names] == expected


def test_a_held_back_job_waits_and_lets_others_pass(store: Store) -> None:
    held, other = store.submit(), store.submit()
    store.edit(held.id, available_at=store.now() + 60)
    assert store.claim().job_id == other.id
    assert store.claims.claim("w1") is None
    store.edit(held.id, available_at=store.now() - 1)
    assert store.claim().job_id == held.id


def hammer(store: Store, worker: str) -> list[str]:
    taken = []
    while (claim := store.claims.claim(worker)) is not None:
        taken.append(claim.job_id)
        store.complete(claim)
    return taken


def check_each_once(store: Store, enqueued: set[str], taken: list[str]) -> None:
    assert Counter(taken) == Counter(enqueued)
    assert store.output_count() == len(enqueued)
    assert store.jobs.counts()[JobStatus.COMPLETED] == len(enqueued)


def test_threads_never_claim_a_job_twice_nor_lose_one(store: Store) -> None:
    enqueued = {store.submit(client=f"c{number % 3}").id for number in range(JOBS)}
    with ThreadPoolExecutor(8) as pool:
        taken = list(chain.from_iterable(pool.map(lambda number: hammer(store, f"w{number}"), range(8))))
    assert store.claims.claim("last") is None
    check_each_once(store, enqueued, taken)


def hammer_in_a_process(url: str, worker: str, output_base: int, results: multiprocessing.Queue) -> None:
    from tests.store import harness

    harness._numbers = harness.itertools.count(output_base)
    store = Store(Database(url))
    results.put(hammer(store, worker))


def test_processes_never_claim_a_job_twice_nor_lose_one(store: Store) -> None:
    enqueued = {store.submit(client=f"c{number % 3}").id for number in range(JOBS)}
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    url = store.database.url.render_as_string(hide_password=False)
    workers = [
        spawn.Process(target=hammer_in_a_process, args=(url, f"w{n}", (n + 1) * 1_000_000, results)) for n in range(3)
    ]
    for worker in workers:
        worker.start()
    taken = [job_id for _ in workers for job_id in results.get(timeout=60)]
    for worker in workers:
        worker.join()
    check_each_once(store, enqueued, taken)


def test_enqueue_and_claim_at_the_same_time_lose_nothing(store: Store) -> None:
    def client(number: int) -> set[str]:
        return {store.submit(client=f"c{number}").id for _ in range(20)}

    def worker(number: int) -> list[str]:
        taken: list[str] = []
        for _ in range(200):
            taken += hammer(store, f"w{number}")
        return taken

    with ThreadPoolExecutor(6) as pool:
        clients = [pool.submit(client, number) for number in range(3)]
        workers = [pool.submit(worker, number) for number in range(3)]
    enqueued = set().union(*(future.result() for future in clients))
    taken = [job_id for future in workers for job_id in future.result()] + hammer(store, "last")
    check_each_once(store, enqueued, taken)
