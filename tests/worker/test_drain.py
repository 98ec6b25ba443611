"""A stopping worker finishes its job within the grace period, or requeues it without using up an attempt."""

from __future__ import annotations

import threading

import pytest

from app.core.job import Claim, JobStatus
from tests.waiting import PATIENCE, wait_until
from tests.worker.fake_engine import FakeEngine, Gate
from tests.worker.harness import Harness


def test_the_running_job_finishes_within_the_grace_period_and_no_other_starts(
    harness: Harness, engine: FakeEngine
) -> None:
    gate = engine.behaviours["running"] = Gate()
    running = harness.start(engine)
    job_id, waiting = harness.submit("running"), harness.submit("waiting")
    gate.wait()
    running.worker.stop(grace=60)
    wait_until(lambda: [w["state"] for w in harness.context.workers.live()] == ["draining"], "never draining")
    gate.opened.set()
    running.join()
    assert running.recycled is False
    assert harness.view(job_id).job.status is JobStatus.COMPLETED
    assert harness.view(waiting).job.status is JobStatus.PENDING
    assert harness.context.workers.live() == []


def test_past_the_grace_period_the_job_is_requeued_with_all_its_attempts(harness: Harness, engine: FakeEngine) -> None:
    gate = engine.behaviours["a boat"] = Gate()
    running = harness.start(engine)
    job_id = harness.submit()
    gate.wait()
    running.stop(grace=0.1)
    job = harness.view(job_id).job
    assert (job.status, job.worker_id, job.error_code) == (JobStatus.PENDING, None, None)
    assert job.max_attempts - job.attempt == harness.context.settings.max_attempts
    assert harness.files() == []
    harness.start(FakeEngine())
    assert harness.completed(job_id).job.attempt == 2


def test_a_generation_that_is_done_when_the_grace_ends_is_published(harness: Harness, engine: FakeEngine) -> None:
    gate = engine.behaviours["a boat"] = Gate(obeys=False)

    running = harness.start(engine)
    job_id = harness.submit()
    gate.wait()
    running.worker.stop(grace=0)
    wait_until(lambda: [job.stop_reason for job in running.worker._heartbeat.jobs()] != [None], "was not asked to stop")
    running.worker._heartbeat.jobs()[0].cancelled = lambda: False  # it looks no more: it is past its last step
    gate.opened.set()
    running.join()
    assert harness.view(job_id).job.status is JobStatus.COMPLETED


def test_a_job_claimed_during_a_stop_is_released_at_once(harness: Harness, engine: FakeEngine, monkeypatch) -> None:
    claim, asked, stopped = harness.context.claims.claim, threading.Event(), threading.Event()

    def slow_claim(*arguments, **more):
        asked.set()
        assert stopped.wait(PATIENCE)
        return claim(*arguments, **more)

    monkeypatch.setattr(harness.context.claims, "claim", slow_claim)
    job_id = harness.submit()  # before the worker is there, so that its first claim is the one that takes the job
    running = harness.start(engine)
    assert asked.wait(PATIENCE)
    running.worker.stop(grace=0)
    stopped.set()
    running.join()
    assert engine.ran == []
    job = harness.view(job_id).job
    assert (job.status, job.attempt, job.max_attempts) == (JobStatus.PENDING, 1, 4)


def test_a_job_that_begins_as_the_grace_period_ends_is_requeued(
    harness: Harness, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was claimed before the stop, and is not yet among the running jobs when those are told to stop."""
    running = harness.start(engine)
    worker = running.worker
    begin = worker._runner.run

    def late(claim: Claim) -> None:
        worker.stop(grace=60)
        worker._heartbeat.release_jobs()
        begin(claim)

    monkeypatch.setattr(worker._runner, "run", late)
    job_id = harness.submit()
    running.join()
    job = harness.view(job_id).job
    assert (job.status, job.worker_id) == (JobStatus.PENDING, None)
