"""The lease: renewed while the job runs; after it is lost, the old owner publishes nothing."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.core.job import JobStatus
from app.services.ops.maintenance import expire_leases
from tests.waiting import wait_until
from tests.worker.fake_engine import FakeEngine, Gate
from tests.worker.harness import Harness

pytestmark = pytest.mark.usefixtures("hurried")


def run_out(harness: Harness, job_id: str) -> None:
    """The lease of the job expires now, as if its worker had sent no heartbeat. A heartbeat in between saves it."""

    def lease_expires() -> bool:
        with harness.context.database.write() as connection:
            connection.execute(text("UPDATE jobs SET lease_expires_at = 1 WHERE id = :id"), {"id": job_id})
        expire_leases(harness.context)
        job = harness.view(job_id).job
        return (job.status, job.attempt) != (held.status, held.attempt)

    held = harness.view(job_id).job
    wait_until(lease_expires, "its worker would not let go")


def test_a_job_longer_than_its_lease_keeps_it(new_harness) -> None:
    harness = new_harness(LEASE_SECONDS="2", HEARTBEAT_SECONDS="0.2")
    harness.start(FakeEngine(step_seconds=1.4))
    job = harness.completed(harness.submit()).job
    assert job.attempt == 1


def test_a_lost_lease_stops_the_work_and_publishes_nothing(harness: Harness, engine: FakeEngine, monkeypatch) -> None:
    monkeypatch.setattr("app.store.queue.lease_expiry.BACKOFF_SECONDS", 100.0)
    gate = engine.behaviours["lost"] = Gate()
    harness.start(engine)
    lost = harness.submit("lost")
    gate.wait()
    run_out(harness, lost)
    harness.completed(harness.submit("next"))  # the worker has stopped the first and goes on
    seen = harness.view(lost)
    assert (seen.job.status, seen.job.attempt, seen.job.worker_id) == (JobStatus.PENDING, 1, None)
    assert len(harness.files()) == 2


def test_files_written_under_a_lost_lease_are_removed(harness: Harness, engine: FakeEngine, monkeypatch) -> None:
    monkeypatch.setattr("app.store.queue.lease_expiry.BACKOFF_SECONDS", 100.0)
    publish = harness.context.images.publish

    def lose_it_meanwhile(files):
        publish(files)
        assert len(harness.files()) == 2
        run_out(harness, job_id)

    monkeypatch.setattr(harness.context.images, "publish", lose_it_meanwhile)
    job_id = harness.submit()
    running = harness.start(engine)
    wait_until(lambda: harness.view(job_id).job.attempt == 1 and harness.files() == [], "the files stayed")
    running.stop()
    seen = harness.view(job_id)
    assert (seen.job.status, seen.outputs) == (JobStatus.PENDING, ())


def test_the_new_owner_publishes_and_the_old_one_does_not(harness: Harness) -> None:
    """The old worker continues without checking; another one publishes; then the old one finishes too."""
    slow, quick = FakeEngine(), FakeEngine()
    gate = slow.behaviours["a boat"] = Gate(obeys=False)
    old = harness.start(slow)
    job_id = harness.submit()
    gate.wait()
    old.worker._draining.set()  # or it would be the one to claim the rescued job
    run_out(harness, job_id)
    harness.start(quick)
    seen = harness.completed(job_id)
    assert seen.job.attempt == 2
    gate.opened.set()
    old.join()
    assert harness.view(job_id) == seen
    assert harness.files() == sorted([seen.outputs[0].path, seen.outputs[0].thumbnail_path])


def test_a_job_whose_service_ends_ten_times_fails(harness: Harness) -> None:
    job_id = harness.submit()
    for attempt in range(1, 11):
        claim = None
        while claim is None:
            claim = harness.context.claims.claim("a worker that dies")
        assert claim.attempt == attempt
        run_out(harness, job_id)
    job = harness.view(job_id).job
    assert (job.status, job.error_code, job.attempt) == (JobStatus.FAILED, "worker_died", 10)
    assert harness.context.claims.claim("another") is None
