"""Leases: heartbeats, expiry of leases of dead workers, and the end of jobs that kill workers."""

from __future__ import annotations

import pytest

from app.core.job import JobStatus, Phase, Progress
from app.store.db.database import Database
from app.store.queue.claims import BACKOFF_MAX_SECONDS, BACKOFF_SECONDS
from app.store.queue.lease_expiry import MAX_INTERRUPTIONS
from tests.store.harness import LEASE, TIMEOUT, Store, a_request


def test_a_heartbeat_extends_the_lease(store: Store) -> None:
    store.submit()
    claim = store.claim()
    store.edit(claim.job_id, lease_expires_at=store.now() + 1, heartbeat_at=1.0)
    beat = store.claims.heartbeat([claim])[claim.job_id]
    assert (beat.owned, beat.cancel_requested) == (True, False)
    row = store.row(claim.job_id)
    assert row.lease_expires_at == pytest.approx(store.now() + LEASE, abs=5)
    assert row.heartbeat_at == pytest.approx(store.now(), abs=5)


def test_a_heartbeat_never_extends_the_lease_past_the_deadline(store: Store) -> None:
    store.submit()
    claim = store.claim()
    for _ in range(20):
        store.edit(claim.job_id, deadline_at=store.now() + LEASE / 2)
        assert store.claims.heartbeat([claim])[claim.job_id].owned
        row = store.row(claim.job_id)
        assert row.lease_expires_at <= row.deadline_at


def test_past_the_deadline_a_heartbeat_is_refused(store: Store) -> None:
    store.submit()
    claim = store.claim()
    store.edit(claim.job_id, deadline_at=store.now() - 1, lease_expires_at=store.now() - 1)
    before = store.row(claim.job_id)
    assert not store.claims.heartbeat([claim])[claim.job_id].owned
    assert store.row(claim.job_id) == before


def test_a_heartbeat_and_progress_bring_the_news_of_a_cancel(store: Store) -> None:
    store.submit()
    claim = store.claim()
    store.jobs.cancel(claim.job_id)
    assert store.claims.heartbeat([claim])[claim.job_id].cancel_requested
    assert store.claims.progress(claim, Progress(Phase.GENERATING, 1, 9)).cancel_requested
    assert store.claims.check(claim).cancel_requested


def test_heartbeats_of_several_jobs_have_separate_results(store: Store) -> None:
    for _ in range(3):
        store.submit()
    claims = [store.claim(f"w{number}") for number in range(3)]
    store.lose(claims[1])
    assert [store.claims.heartbeat(claims)[claim.job_id].owned for claim in claims] == [True, False, True]
    assert store.claims.heartbeat([]) == {}


def test_the_lease_of_a_live_job_does_not_expire(store: Store) -> None:
    store.submit()
    store.claim()
    assert store.claims.expire_leases() == []


def test_a_silent_worker_s_job_waits_again_behind_a_backoff(store: Store) -> None:
    store.submit()
    claim = store.claim()
    store.expire(claim)
    assert [(row.id, row.status, row.attempt, row.error_code) for row in store.claims.expire_leases()] == [
        (claim.job_id, "PENDING", 1, "worker_died")
    ]
    assert store.claims.expire_leases() == []
    row = store.row(claim.job_id)
    assert row.worker_id is None
    assert row.lease_expires_at is None
    assert row.available_at == pytest.approx(store.now() + BACKOFF_SECONDS, abs=1.5)
    assert store.claims.claim("w2") is None


def test_the_backoff_doubles_up_to_its_bound(store: Store) -> None:
    job = store.submit()
    waits = []
    for _ in range(10):
        store.edit(job.id, interruptions=0)
        claim = store.claim()
        store.expire(claim)
        store.claims.expire_leases()
        waits.append(store.row(job.id).available_at - store.now())
        store.edit(job.id, available_at=None)
    expected = [min(BACKOFF_SECONDS * 2**n, BACKOFF_MAX_SECONDS) for n in range(10)]
    assert waits == pytest.approx(expected, abs=1.5)


def test_the_end_of_everything_is_no_attempt_but_bounded(store: Store) -> None:
    """The lease expires without a recorded death: the worker ended with its supervisor or the machine."""
    job = store.submit()
    for attempt in range(1, MAX_INTERRUPTIONS + 1):
        assert store.jobs.get(job.id).status is JobStatus.PENDING
        claim = store.claim(f"w{attempt}")
        assert claim.attempt == attempt
        store.lose(claim)
    row = store.row(job.id)
    assert (row.interruptions, row.max_attempts - row.attempt) == (MAX_INTERRUPTIONS, 3)
    dead = store.jobs.get(job.id)
    assert (dead.status, dead.error_code) == (JobStatus.FAILED, "worker_died")
    assert dead.completed_at is not None
    assert dead.error_message
    assert store.claims.claim("w4") is None


@pytest.mark.parametrize("max_attempts", [1, 2])
def test_a_job_that_used_up_its_deadline_failed_by_timeout(store: Store, max_attempts: int) -> None:
    job = store.submit()
    store.edit(job.id, max_attempts=max_attempts)
    store.claim()
    past = store.now() - 1
    store.edit(job.id, lease_expires_at=past, deadline_at=past)
    store.claims.expire_leases()
    expired = store.jobs.get(job.id)
    assert expired.error_code == "timeout"
    assert expired.status is (JobStatus.FAILED if max_attempts == 1 else JobStatus.PENDING)


def test_a_timeout_shorter_than_the_lease_is_a_timeout_too(database: Database) -> None:
    store = Store(database, lease=30, timeout=10)
    job = store.submit()
    for _ in range(10):  # the two limits must be equal to the last digit each time
        claim = store.claim()
        row = store.row(job.id)
        store.edit(job.id, max_attempts=1, lease_expires_at=row.lease_expires_at - 60, deadline_at=row.deadline_at - 60)
        assert [row.error_code for row in store.claims.expire_leases()] == ["timeout"]
        assert claim.deadline_in == 10
        store.jobs.retry(job.id, max_attempts=1)


def test_a_cancelled_job_whose_worker_died_is_cancelled(store: Store) -> None:
    store.submit()
    claim = store.claim()
    store.jobs.cancel(claim.job_id)
    store.lose(claim)
    job = store.jobs.get(claim.job_id)
    assert (job.status, job.error_code, job.error_message) == (JobStatus.CANCELLED, None, None)
    assert job.completed_at is not None


def test_expire_leases_changes_only_lost_jobs(store: Store) -> None:
    for _ in range(4):
        store.submit()
    done, lost, alive = store.claim("w1"), store.claim("w2"), store.claim("w3")
    store.complete(done)
    before = {id: store.row(id) for id in (done.job_id, alive.job_id)}
    store.expire(lost)
    assert [row.id for row in store.claims.expire_leases()] == [lost.job_id]
    assert {id: store.row(id) for id in before} == before


def test_a_waiting_job_shows_no_progress_of_its_last_attempt(store: Store) -> None:
    store.submit()
    claim = store.claim()
    store.claims.progress(claim, Progress(Phase.GENERATING, 8, 16))
    assert store.jobs.get(claim.job_id).progress.percent == 49
    store.lose(claim)
    assert store.jobs.get(claim.job_id).progress == Progress(Phase.STARTING, 0, 16)


# --- a clock set back leaves rows in the future


def test_a_lease_in_the_far_future_still_ends_within_a_lease(store: Store) -> None:
    store.submit()
    claim = store.claim()
    store.edit(claim.job_id, lease_expires_at=store.now() + 9000, deadline_at=store.now() + 9500)
    assert store.claims.expire_leases() == []
    row = store.row(claim.job_id)
    assert row.lease_expires_at <= store.now() + LEASE
    assert row.deadline_at <= store.now() + TIMEOUT


def test_a_deadline_in_the_far_future_is_brought_back_though_the_worker_lives(store: Store) -> None:
    store.submit()
    claim = store.claim()
    store.edit(claim.job_id, deadline_at=store.now() + 9500)
    store.claims.heartbeat([claim])
    store.claims.expire_leases()
    assert store.row(claim.job_id).deadline_at <= store.now() + TIMEOUT
    assert store.claims.heartbeat([claim])[claim.job_id].owned


def test_no_job_waits_longer_than_the_longest_backoff(store: Store) -> None:
    job = store.submit()
    store.edit(job.id, available_at=store.now() + BACKOFF_MAX_SECONDS + 60)
    store.claims.expire_leases()
    assert store.claim().job_id == job.id


def test_jobs_from_the_future_are_served(store: Store) -> None:
    job = store.submit("cold")
    warm = store.submit("warm")
    store.edit(job.id, created_at=store.now() + 9000, overtaken_at=store.now() + 9000)
    claim = store.claim("w1", "warm")
    assert claim.job_id == job.id
    assert claim.queued_seconds == 0
    assert store.claim("w1").job_id == warm.id


def test_loading_has_time_of_its_own_until_drawing_begins(database: Database) -> None:
    store = Store(database, lease=30, timeout=100, load=1000)
    job = store.submit()
    claim = store.claim()
    assert (claim.deadline_in, claim.load_seconds) == (1100, 1000)
    row = store.row(job.id)
    assert row.deadline_at - row.started_at == pytest.approx(1100)
    store.claims.progress(claim, Progress(Phase.GENERATING), deadline_in=100)
    row = store.row(job.id)
    assert 100 <= row.deadline_at - row.started_at < 1000
    assert row.lease_expires_at <= row.deadline_at
    store.claims.progress(claim, Progress(Phase.GENERATING), deadline_in=5)  # shorter than the lease
    row = store.row(job.id)
    assert row.lease_expires_at == row.deadline_at


def test_a_providers_model_is_not_loaded_here(database: Database) -> None:
    store = Store(database, lease=30, timeout=100, load=1000)
    store.jobs.enqueue(a_request(), client_id="alice", lane="remote")
    claim = store.claims.claim("w1", lane="remote")
    assert claim is not None
    assert (claim.deadline_in, claim.load_seconds) == (100, 0)
