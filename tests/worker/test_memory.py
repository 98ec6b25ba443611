"""Out of memory is a contract: the job fails with its own code, and the process makes way for a fresh one."""

from __future__ import annotations

import pytest

from app.core.job import JobStatus
from app.errors import OutOfMemory
from tests.worker.fake_engine import FakeEngine, fails
from tests.worker.harness import Place

pytestmark = pytest.mark.usefixtures("hurried")


@pytest.mark.parametrize("error", [OutOfMemory("Memory on cuda:0 ran out."), MemoryError()])
def test_out_of_memory_fails_the_job_and_recycles_the_worker(
    place: Place, engine: FakeEngine, error: BaseException
) -> None:
    engine.behaviours["huge"] = fails(error)
    huge, small = place.submit("huge"), place.submit("small")
    running = place.start(engine)
    running.join()
    assert running.recycled is True
    job = place.view(huge).job
    assert (job.status, job.error_code, job.attempt) == (JobStatus.FAILED, "out_of_memory", 1)
    assert job.error_message
    assert place.view(small).job.status is JobStatus.PENDING
    assert place.installation.workers.live() == []
    place.start(FakeEngine())
    place.completed(small)


def test_a_picture_that_is_being_saved_is_not_lost_when_the_next_job_runs_out_of_memory(
    place: Place, engine: FakeEngine, monkeypatch
) -> None:
    saving_begun = []
    publish = place.installation.images.publish

    def slow_publish(files):
        saving_begun.append(True)
        while not engine.ran[1:]:
            pass
        publish(files)

    monkeypatch.setattr(place.installation.images, "publish", slow_publish)
    engine.behaviours["huge"] = fails(OutOfMemory("Memory on cuda:0 ran out."))
    small, huge = place.submit("small"), place.submit("huge")
    place.start(engine).join()
    assert saving_begun
    place.completed(small)
    assert place.view(huge).job.error_code == "out_of_memory"


def test_running_out_of_memory_while_encoding_counts_too(place: Place, engine: FakeEngine, monkeypatch) -> None:
    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr("app.services.media.publish.encode_png", exhausted)
    running = place.start(engine)
    job = place.ended(place.submit()).job
    assert job.error_code == "out_of_memory"
    place.installation.bell.ring("work")
    running.join()
    assert running.recycled is True
