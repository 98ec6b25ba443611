"""A cancel ends its job in any phase, and no other job."""

from __future__ import annotations

import pytest

from app.core.job import JobStatus, Phase
from app.services.jobs.cancel import cancel, retry
from tests.waiting import PATIENCE
from tests.worker.fake_engine import FakeEngine, Gate
from tests.worker.harness import Harness


def test_a_waiting_job_is_never_started(harness: Harness, engine: FakeEngine) -> None:
    cancelled, kept = harness.submit("unwanted"), harness.submit("wanted")
    assert cancel(harness.context, cancelled).job.status is JobStatus.CANCELLED
    harness.start(engine)
    harness.completed(kept)
    assert engine.ran == ["wanted"]
    assert harness.view(cancelled).job.status is JobStatus.CANCELLED


@pytest.mark.parametrize("phase", [Phase.LOADING, Phase.ENCODING, Phase.GENERATING])
def test_a_running_job_stops_and_the_next_one_runs(harness: Harness, engine: FakeEngine, phase: Phase) -> None:
    gate = engine.behaviours["unwanted"] = Gate(phase)
    harness.start(engine)
    unwanted, wanted = harness.submit("unwanted"), harness.submit("wanted")
    gate.wait()
    cancel(harness.context, unwanted)
    seen = harness.ended(unwanted)
    assert (seen.job.status, seen.job.error_code, seen.job.attempt) == (JobStatus.CANCELLED, None, 1)
    assert seen.job.completed_at is not None
    outputs = harness.completed(wanted).outputs
    assert harness.files() == sorted([outputs[0].path, outputs[0].thumbnail_path])


def test_a_job_that_is_being_saved_leaves_no_file(harness: Harness, engine: FakeEngine, monkeypatch) -> None:
    saving = Gate()
    publish = harness.context.images.publish

    def slow_publish(files):
        publish(files)
        saving.reached.set()
        assert saving.opened.wait(PATIENCE)

    monkeypatch.setattr(harness.context.images, "publish", slow_publish)
    harness.start(engine)
    job_id = harness.submit()
    saving.wait()
    assert harness.files()
    cancel(harness.context, job_id)
    saving.opened.set()
    seen = harness.ended(job_id)
    assert seen.job.status is JobStatus.CANCELLED
    assert seen.outputs == ()
    assert harness.files() == []


def test_a_late_cancel_stops_no_other_job(harness: Harness, engine: FakeEngine) -> None:
    first, second = Gate(), Gate()
    engine.behaviours |= {"first": first, "second": second}
    harness.start(engine)
    one, two = harness.submit("first"), harness.submit("second")
    first.wait()
    cancel(harness.context, one)
    second.wait()  # the first was stopped; the cancel must not be taken for the second's
    assert harness.ended(one).job.status is JobStatus.CANCELLED
    second.opened.set()
    harness.completed(two)


def test_an_engine_that_fails_instead_of_stopping_is_still_cancelled(harness: Harness, engine: FakeEngine) -> None:
    gate = Gate(obeys=False)

    def behave(control):
        gate(control)
        raise RuntimeError("interrupted in the middle")

    engine.behaviours["a boat"] = behave
    harness.start(engine)
    job_id = harness.submit()
    gate.wait()
    cancel(harness.context, job_id)
    gate.opened.set()
    seen = harness.ended(job_id)
    assert (seen.job.status, seen.job.error_code) == (JobStatus.CANCELLED, None)


def test_a_cancelled_job_can_be_tried_again(harness: Harness, engine: FakeEngine) -> None:
    gate = engine.behaviours["a boat"] = Gate()
    harness.start(engine)
    job_id = harness.submit()
    gate.wait()
    cancel(harness.context, job_id)
    assert harness.ended(job_id).job.status is JobStatus.CANCELLED
    engine.behaviours.clear()
    retry(harness.context, job_id)
    assert harness.completed(job_id).job.attempt == 2
