"""A cancel ends the right job, at whatever point it is, and no other."""

from __future__ import annotations

import pytest

from app.core.job import JobStatus, Phase
from app.services.jobs.cancel import cancel, retry
from tests.waiting import PATIENCE
from tests.worker.fake_engine import FakeEngine, Gate
from tests.worker.harness import Place


def test_a_waiting_job_is_never_begun(place: Place, engine: FakeEngine) -> None:
    cancelled, kept = place.submit("unwanted"), place.submit("wanted")
    assert cancel(place.installation, cancelled).job.status is JobStatus.CANCELLED
    place.start(engine)
    place.completed(kept)
    assert engine.ran == ["wanted"]
    assert place.view(cancelled).job.status is JobStatus.CANCELLED


@pytest.mark.parametrize("phase", [Phase.LOADING, Phase.ENCODING, Phase.GENERATING])
def test_a_running_job_stops_and_the_next_one_runs(place: Place, engine: FakeEngine, phase: Phase) -> None:
    gate = engine.behaviours["unwanted"] = Gate(phase)
    place.start(engine)
    unwanted, wanted = place.submit("unwanted"), place.submit("wanted")
    gate.wait()
    cancel(place.installation, unwanted)
    seen = place.ended(unwanted)
    assert (seen.job.status, seen.job.error_code, seen.job.attempt) == (JobStatus.CANCELLED, None, 1)
    assert seen.job.completed_at is not None
    outputs = place.completed(wanted).outputs
    assert place.files() == sorted([outputs[0].path, outputs[0].thumbnail_path])


def test_a_job_that_is_being_saved_leaves_no_file(place: Place, engine: FakeEngine, monkeypatch) -> None:
    saving = Gate()
    publish = place.installation.images.publish

    def slow_publish(files):
        publish(files)
        saving.reached.set()
        assert saving.opened.wait(PATIENCE)

    monkeypatch.setattr(place.installation.images, "publish", slow_publish)
    place.start(engine)
    job_id = place.submit()
    saving.wait()
    assert place.files()
    cancel(place.installation, job_id)
    saving.opened.set()
    seen = place.ended(job_id)
    assert seen.job.status is JobStatus.CANCELLED
    assert seen.outputs == ()
    assert place.files() == []


def test_a_cancel_that_comes_late_stops_nobody_else(place: Place, engine: FakeEngine) -> None:
    first, second = Gate(), Gate()
    engine.behaviours |= {"first": first, "second": second}
    place.start(engine)
    one, two = place.submit("first"), place.submit("second")
    first.wait()
    cancel(place.installation, one)
    second.wait()  # the first was stopped; the cancel must not be taken for the second's
    assert place.ended(one).job.status is JobStatus.CANCELLED
    second.opened.set()
    place.completed(two)


def test_an_engine_that_fails_instead_of_stopping_is_still_cancelled(place: Place, engine: FakeEngine) -> None:
    gate = Gate(obeys=False)

    def behave(control):
        gate(control)
        raise RuntimeError("interrupted in the middle")

    engine.behaviours["a boat"] = behave
    place.start(engine)
    job_id = place.submit()
    gate.wait()
    cancel(place.installation, job_id)
    gate.opened.set()
    seen = place.ended(job_id)
    assert (seen.job.status, seen.job.error_code) == (JobStatus.CANCELLED, None)


def test_a_cancelled_job_can_be_tried_again(place: Place, engine: FakeEngine) -> None:
    gate = engine.behaviours["a boat"] = Gate()
    place.start(engine)
    job_id = place.submit()
    gate.wait()
    cancel(place.installation, job_id)
    assert place.ended(job_id).job.status is JobStatus.CANCELLED
    engine.behaviours.clear()
    retry(place.installation, job_id)
    assert place.completed(job_id).job.attempt == 2
