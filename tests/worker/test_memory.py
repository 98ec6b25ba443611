"""Out of memory: the job fails with `out_of_memory`, and the process is replaced."""

from __future__ import annotations

import pytest

from app.core.job import JobStatus
from app.engines.base import ResidentModel
from app.errors import OutOfMemory
from tests.waiting import wait_until
from tests.worker.fake_engine import FakeEngine, fails
from tests.worker.harness import Harness

pytestmark = pytest.mark.usefixtures("hurried")


@pytest.mark.parametrize("error", [OutOfMemory("Memory on cuda:0 ran out."), MemoryError()])
def test_out_of_memory_fails_the_job_and_recycles_the_worker(
    harness: Harness, engine: FakeEngine, error: BaseException
) -> None:
    engine.behaviours["huge"] = fails(error)
    huge, small = harness.submit("huge"), harness.submit("small")
    running = harness.start(engine)
    running.join()
    assert running.recycled is True
    job = harness.view(huge).job
    assert (job.status, job.error_code, job.attempt) == (JobStatus.FAILED, "out_of_memory", 1)
    assert job.error_message
    assert harness.view(small).job.status is JobStatus.PENDING
    assert harness.context.workers.live() == []
    harness.start(FakeEngine())
    harness.completed(small)


def test_a_picture_that_is_being_saved_is_not_lost_when_the_next_job_runs_out_of_memory(
    harness: Harness, engine: FakeEngine, monkeypatch
) -> None:
    saving_begun = []
    publish = harness.context.images.publish

    def slow_publish(files):
        saving_begun.append(True)
        while not engine.ran[1:]:
            pass
        publish(files)

    monkeypatch.setattr(harness.context.images, "publish", slow_publish)
    engine.behaviours["huge"] = fails(OutOfMemory("Memory on cuda:0 ran out."))
    small, huge = harness.submit("small"), harness.submit("huge")
    harness.start(engine).join()
    assert saving_begun
    harness.completed(small)
    assert harness.view(huge).job.error_code == "out_of_memory"


def test_out_of_memory_while_encoding_fails_the_job(harness: Harness, engine: FakeEngine, monkeypatch) -> None:
    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr("app.services.media.publish.encode_png", exhausted)
    running = harness.start(engine)
    job = harness.ended(harness.submit()).job
    assert job.error_code == "out_of_memory"
    harness.context.notifications.publish("work")
    running.join()
    assert running.recycled is True


def test_memory_of_models_on_the_cpu_is_not_reported_as_gpu_memory(harness: Harness, engine: FakeEngine, monkeypatch):
    held = [ResidentModel("here", "cpu", "float32", device_bytes=5), ResidentModel("there", "cuda:0", "float16", 7)]
    monkeypatch.setattr(engine, "resident", lambda: held)
    harness.start(engine)
    harness.completed(harness.submit())
    wait_until(lambda: [row["vram_bytes"] for row in harness.context.workers.live()] == [7], "not the GPU's alone")
