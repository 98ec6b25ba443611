"""A job past its deadline fails as `timeout`; a worker that cannot stop it exits, and the job is requeued."""

from __future__ import annotations

import pytest

from app.core.job import JobStatus
from app.process.threads import EXIT_STUCK
from tests.processes import Processes
from tests.waiting import wait_until
from tests.worker.fake_engine import FakeEngine, Gate
from tests.worker.harness import Harness


def test_a_job_past_its_deadline_stops_and_is_not_retried(new_harness, engine: FakeEngine) -> None:
    harness = new_harness(JOB_TIMEOUT_SECONDS="0.4")
    engine.behaviours["slow"] = Gate()
    harness.start(engine)
    job = harness.ended(harness.submit("slow")).job
    assert (job.status, job.error_code, job.attempt) == (JobStatus.FAILED, "timeout", 1)
    assert "JOB_TIMEOUT_SECONDS" in (job.error_message or "")
    assert harness.files() == []
    engine.behaviours.clear()
    harness.completed(harness.submit("quick"))


def test_the_lease_outlives_the_time_to_stop(new_harness, engine: FakeEngine, hurried) -> None:
    """The last step may be long: the lease must outlive the deadline, or the job is run a second time for nothing."""
    harness = new_harness(JOB_TIMEOUT_SECONDS="0.3", LEASE_SECONDS="1", HEARTBEAT_SECONDS="0.1")
    gate = engine.behaviours["slow"] = Gate(obeys=False)
    running = harness.start(engine)
    job_id = harness.submit("slow")
    wait_until(
        lambda: [str(job.stop_reason) for job in running.worker._heartbeat.jobs()] == ["expired"], "never expired"
    )
    wait_until(lambda: not gate.opened.wait(1.5), "")  # longer than a lease
    gate.opened.set()
    job = harness.ended(job_id).job
    assert (job.status, job.error_code, job.attempt) == (JobStatus.FAILED, "timeout", 1)


@pytest.mark.parametrize(("prompt", "status"), [("hang", EXIT_STUCK), ("hang in C", 1)])
def test_a_hung_engine_ends_the_process_and_the_job_is_requeued(
    new_harness, engine: FakeEngine, processes: Processes, hurried, monkeypatch, prompt: str, status: int
) -> None:
    monkeypatch.setattr("app.services.context.STOP_GRACE_SECONDS", 0.5)
    harness = new_harness(JOB_TIMEOUT_SECONDS="0.5", LEASE_SECONDS="1", HEARTBEAT_SECONDS="0.2")
    job_id = harness.submit(prompt)
    process = processes.start_worker(harness.environment, "stop_grace=0.5")
    assert process.wait(60) == status, processes.said()
    assert harness.view(job_id).job.attempt == 1
    if prompt == "hang in C":
        assert "most recent call first" in processes.said()  # where it hung
    else:
        assert "did not stop after its deadline" in (harness.folder / "logs" / "errors.log").read_text()
    harness.start(engine)
    assert harness.completed(job_id).job.attempt == 2


def test_a_job_that_hangs_every_time_fails_as_timeout(harness: Harness) -> None:
    """Its worker is gone at the deadline, having beaten until then: that is no `worker_died`."""
    from sqlalchemy import text

    from app.services.ops.maintenance import expire_leases

    job_id = harness.submit()
    for _ in range(3):
        with harness.context.database.write() as connection:
            connection.execute(text("UPDATE jobs SET available_at = NULL"))
        assert harness.context.claims.claim("a worker that hangs") is not None
        with harness.context.database.write() as connection:
            connection.execute(text("UPDATE jobs SET lease_expires_at = 5, deadline_at = 5"))
        expire_leases(harness.context)
    job = harness.view(job_id).job
    assert (job.status, job.error_code, job.attempt) == (JobStatus.FAILED, "timeout", 3)
