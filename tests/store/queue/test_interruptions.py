"""Interruptions: attempts that a failing device cut short do not count as the job's, but they are bounded."""

from __future__ import annotations

import pytest

from app.core.job import JobStatus
from app.errors import DeviceFailed, LeaseLost
from app.store.queue.lease_expiry import MAX_INTERRUPTIONS
from tests.store.harness import Store

ERROR = DeviceFailed("The device failed.")


def again(store: Store, job_id: str) -> None:
    store.edit(job_id, available_at=None)


def test_an_interrupted_job_waits_and_keeps_its_attempts(store: Store) -> None:
    job = store.submit()
    assert store.claims.interrupt(store.claim(), ERROR) is JobStatus.PENDING
    row = store.row(job.id)
    assert (row.attempt, row.max_attempts, row.interruptions) == (1, 4, 1)
    assert (row.worker_id, row.error_code) == (None, "device_failed")
    assert row.available_at > store.now()
    assert store.claims.claim("w2") is None, "others go first"


def test_it_fails_after_ten(store: Store) -> None:
    job = store.submit()
    seen = []
    for _ in range(MAX_INTERRUPTIONS):
        seen.append(store.claims.interrupt(store.claim(), ERROR))
        again(store, job.id)
    assert seen == [JobStatus.PENDING] * (MAX_INTERRUPTIONS - 1) + [JobStatus.FAILED]
    row = store.row(job.id)
    assert (row.error_code, row.error_message) == ("device_failed", ERROR.detail)
    assert row.completed_at is not None


def test_a_cancelled_job_ends(store: Store) -> None:
    job = store.submit()
    claim = store.claim()
    store.jobs.cancel(job.id)
    assert store.claims.interrupt(claim, ERROR) is JobStatus.CANCELLED
    assert store.row(job.id).error_code is None


def test_only_the_owner_may(store: Store) -> None:
    store.submit()
    claim = store.claim()
    store.lose(claim)
    store.claim("w2")
    with pytest.raises(LeaseLost):
        store.claims.interrupt(claim, ERROR)


def test_a_retry_starts_with_none(store: Store) -> None:
    job = store.submit()
    for _ in range(MAX_INTERRUPTIONS):
        store.claims.interrupt(store.claim(), ERROR)
        again(store, job.id)
    store.jobs.retry(job.id, max_attempts=3)
    assert store.row(job.id).interruptions == 0
    assert store.claims.interrupt(store.claim(), ERROR) is JobStatus.PENDING
