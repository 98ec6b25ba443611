"""A recorded death frees the jobs of that worker at once, and of no other; the attempts count."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.core.deaths import Death
from app.core.job import JobStatus
from app.core.load_requests import LoadAction, LoadState
from app.errors import LeaseLost
from app.store.db.schema import worker_deaths
from app.store.ops.counters import Counter, totals
from app.store.queue.workers import WorkerReport
from tests.store.harness import Store

KILLED = Death(-9)


def test_its_jobs_wait_again_at_once(store: Store) -> None:
    job = store.submit()
    claim = store.claim("dead")
    store.workers.heartbeat(WorkerReport("dead", "here", 7, "cpu"))
    assert [row.id for row in store.deaths.record("dead", KILLED)] == [job.id]
    row = store.row(job.id)
    assert (row.status, row.worker_id, row.attempt, row.max_attempts, row.interruptions) == ("PENDING", None, 1, 3, 0)
    assert store.now() < row.available_at < store.now() + 5
    assert row.error_code == "worker_died"
    assert "killed from outside by signal 9 (SIGKILL)" in row.error_message
    assert store.workers.live() == []
    with pytest.raises(LeaseLost):
        store.complete(claim)


def test_those_of_others_are_left_alone(store: Store) -> None:
    for _ in range(3):
        store.submit()
    mine, others = store.claim("host-7-aaaa"), store.claim("host-7-bbbb")
    done = store.claim("host-7-aaaa")
    store.complete(done)
    assert [row.id for row in store.deaths.record("host-7-aaaa", KILLED)] == [mine.job_id]
    assert store.row(done.job_id).status == "COMPLETED"
    store.complete(others)


def test_a_job_that_went_to_another_worker_stays_there(store: Store) -> None:
    store.submit()
    store.lose(store.claim("dead"))
    again = store.claim("w2")
    assert store.deaths.record("dead", KILLED) == []
    store.complete(again)


def test_poison_stops(store: Store) -> None:
    job = store.submit()
    for attempt in (1, 2, 3):
        assert store.claim(f"w{attempt}").attempt == attempt
        store.deaths.record(f"w{attempt}", Death(-9, out_of_memory=True))
        store.edit(job.id, available_at=None)
    dead = store.jobs.get(job.id)
    assert (dead.status, dead.error_code) == (JobStatus.FAILED, "worker_died")
    assert "killed by the kernel for lack of memory: choose a smaller model" in (dead.error_message or "")
    assert dead.completed_at is not None


def test_past_its_deadline_it_is_a_timeout(store: Store) -> None:
    job = store.submit()
    store.claim("dead")
    store.edit(job.id, deadline_at=store.now(), lease_expires_at=store.now())
    store.deaths.record("dead", Death(70))
    assert store.row(job.id).error_code == "timeout"


def test_a_cancelled_job_is_cancelled(store: Store) -> None:
    job = store.submit()
    store.claim("dead")
    store.jobs.cancel(job.id)
    store.deaths.record("dead", KILLED)
    assert store.jobs.get(job.id).status is JobStatus.CANCELLED


def test_it_is_recorded_and_counted_once(store: Store) -> None:
    for _ in range(2):
        store.deaths.record("dead", Death(-11))
    with store.database.read() as connection:
        (row,) = connection.execute(select(worker_deaths)).all()
        assert totals(connection)[Counter("worker_deaths", detail="crashed")] == 1
    assert (row.worker_id, row.cause, row.status) == ("dead", "crashed", -11)


def test_a_load_that_it_carried_out_fails(store: Store) -> None:
    store.load_requests.create(LoadAction.LOAD, "demo", lifetime=60)
    request = store.load_requests.take("dead")
    assert request is not None
    store.deaths.record("dead", Death(-11))
    seen = store.load_requests.get(request.id)
    assert seen is not None
    assert (seen.state, seen.error_code) == (LoadState.FAILED, "worker_died")
    assert "SIGSEGV" in (seen.error_message or "")
