"""A worker that is told to stop finishes its job within the grace, or gives it back unharmed."""

from __future__ import annotations

import threading

from app.core.job import JobStatus
from tests.waiting import PATIENCE, wait_until
from tests.worker.fake_engine import FakeEngine, Gate
from tests.worker.harness import Place


def test_the_running_job_finishes_within_the_grace_and_no_other_begins(place: Place, engine: FakeEngine) -> None:
    gate = engine.behaviours["running"] = Gate()
    running = place.start(engine)
    job_id, waiting = place.submit("running"), place.submit("waiting")
    gate.wait()
    running.worker.stop(grace=60)
    wait_until(lambda: [w["state"] for w in place.installation.workers.live()] == ["draining"], "never draining")
    gate.opened.set()
    running.join()
    assert running.recycled is False
    assert place.view(job_id).job.status is JobStatus.COMPLETED
    assert place.view(waiting).job.status is JobStatus.PENDING
    assert place.installation.workers.live() == []


def test_past_the_grace_the_job_goes_back_with_all_its_attempts(place: Place, engine: FakeEngine) -> None:
    gate = engine.behaviours["a boat"] = Gate()
    running = place.start(engine)
    job_id = place.submit()
    gate.wait()
    running.stop(grace=0.1)
    job = place.view(job_id).job
    assert (job.status, job.worker_id, job.error_code) == (JobStatus.PENDING, None, None)
    assert job.max_attempts - job.attempt == place.installation.settings.max_attempts
    assert place.files() == []
    place.start(FakeEngine())
    assert place.completed(job_id).job.attempt == 2


def test_a_generation_that_is_done_when_the_grace_ends_is_published(place: Place, engine: FakeEngine) -> None:
    gate = engine.behaviours["a boat"] = Gate(obeys=False)

    running = place.start(engine)
    job_id = place.submit()
    gate.wait()
    running.worker.stop(grace=0)
    wait_until(lambda: [job.stop_reason for job in running.worker._keeper.held()] != [None], "was not asked to stop")
    running.worker._keeper.held()[0].cancelled = lambda: False  # it looks no more: it is past its last step
    gate.opened.set()
    running.join()
    assert place.view(job_id).job.status is JobStatus.COMPLETED


def test_a_job_claimed_while_the_stop_arrives_goes_back_at_once(place: Place, engine: FakeEngine, monkeypatch) -> None:
    claim, asked, stopped = place.installation.claims.claim, threading.Event(), threading.Event()

    def slow_claim(*arguments, **more):
        asked.set()
        assert stopped.wait(PATIENCE)
        return claim(*arguments, **more)

    monkeypatch.setattr(place.installation.claims, "claim", slow_claim)
    job_id = place.submit()  # before the worker is there, so that its first claim is the one that takes the job
    running = place.start(engine)
    assert asked.wait(PATIENCE)
    running.worker.stop(grace=0)
    stopped.set()
    running.join()
    assert engine.ran == []
    job = place.view(job_id).job
    assert (job.status, job.attempt, job.max_attempts) == (JobStatus.PENDING, 1, 4)
