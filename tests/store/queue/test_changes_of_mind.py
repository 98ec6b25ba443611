"""Cancel and retry: what each state allows, and that one job's cancel never touches another."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.core.deaths import Death
from app.core.job import Claim, JobStatus
from app.errors import Conflict, Gone, JobNotFound, ModelUnavailable
from tests.store.harness import Store


def test_a_waiting_job_is_cancelled_at_once(store: Store) -> None:
    job, other = store.submit(), store.submit()
    cancelled = store.jobs.cancel(job.id)
    assert cancelled.status is JobStatus.CANCELLED
    assert cancelled.completed_at is not None
    assert store.claim().job_id == other.id
    assert store.claims.claim("w2") is None


def test_a_running_job_is_asked_to_stop_and_no_other(store: Store) -> None:
    store.submit()
    store.submit()
    mine, other = store.claim("w1"), store.claim("w2")
    before = store.row(other.job_id)
    asked = store.jobs.cancel(mine.job_id)
    assert (asked.status, asked.cancel_requested) == (JobStatus.PROCESSING, True)
    assert store.row(other.job_id) == before
    assert not store.claims.check(other).cancel_requested
    store.claims.cancelled(mine)
    assert store.jobs.get(mine.job_id).status is JobStatus.CANCELLED
    store.complete(other)


def test_cancelling_twice_is_no_error_and_ended_jobs_refuse(store: Store) -> None:
    job = store.submit()
    first = store.jobs.cancel(job.id)
    assert store.jobs.cancel(job.id) == first
    store.submit()
    claim = store.claim()
    store.complete(claim)
    with pytest.raises(Conflict, match="COMPLETED"):
        store.jobs.cancel(claim.job_id)
    store.submit()
    claim = store.claim()
    store.claims.fail(claim, ModelUnavailable())
    with pytest.raises(Conflict, match="FAILED"):
        store.jobs.cancel(claim.job_id)


def fail(store: Store, claim: Claim) -> None:
    store.claims.fail(claim, ModelUnavailable("x"))


def cancel(store: Store, claim: Claim) -> None:
    store.jobs.cancel(claim.job_id)
    store.claims.cancelled(claim)


@pytest.mark.parametrize("end", [fail, cancel])
def test_a_failed_or_cancelled_job_can_be_retried_with_fresh_attempts(
    store: Store, end: Callable[[Store, Claim], None]
) -> None:
    store.submit()
    end(store, store.claim())
    (job,) = store.jobs.newest([JobStatus.FAILED, JobStatus.CANCELLED], limit=2)
    again = store.jobs.retry(job.id, max_attempts=2)
    assert (again.status, again.cancel_requested, again.error_code) == (JobStatus.PENDING, False, None)
    assert (again.completed_at, again.started_at) == (None, None)
    for attempt in range(2):
        store.claim(f"w{attempt}")
        store.deaths.record(f"w{attempt}", Death(-9))
        store.edit(job.id, available_at=None)
    assert store.jobs.get(job.id).status is JobStatus.FAILED


def test_a_retried_job_can_be_completed(store: Store) -> None:
    job = store.submit()
    store.jobs.cancel(job.id)
    store.jobs.retry(job.id, max_attempts=1)
    store.complete(store.claim())
    assert store.jobs.get(job.id).status is JobStatus.COMPLETED


def test_other_states_cannot_be_retried(store: Store) -> None:
    job = store.submit()
    with pytest.raises(Conflict, match="PENDING"):
        store.jobs.retry(job.id, max_attempts=1)
    claim = store.claim()
    with pytest.raises(Conflict, match="PROCESSING"):
        store.jobs.retry(job.id, max_attempts=1)
    store.complete(claim)
    with pytest.raises(Conflict, match="COMPLETED"):
        store.jobs.retry(job.id, max_attempts=1)


def test_unknown_and_removed_jobs_say_so(store: Store) -> None:
    from sqlalchemy import text

    with store.database.write() as connection:
        connection.execute(text("INSERT INTO removals (id, kind, removed_at) VALUES ('gone', 'job', 1)"))
    with pytest.raises(JobNotFound):
        store.jobs.cancel("nothing")
    with pytest.raises(JobNotFound):
        store.jobs.retry("nothing", max_attempts=1)
    with pytest.raises(Gone):
        store.jobs.cancel("gone")
    with pytest.raises(Gone):
        store.jobs.retry("gone", max_attempts=1)
