"""Out of memory: the job fails with `out_of_memory`, and the process is replaced."""

from __future__ import annotations

import pytest

from app.core.job import JobStatus
from app.core.needs import Needs
from app.engines.base import ResidentModel
from app.errors import CyberImageError, GpuRequired, NoRoom, OutOfMemory
from app.store.queue.workers import WorkerReport
from app.worker.refusals import Refusals
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


REFUSALS = [NoRoom("fake needs about 24.0 GB of memory on cuda:0, where 1.6 GB are free."), GpuRequired("No GPU.")]


def small_card(error: CyberImageError = REFUSALS[0]) -> FakeEngine:
    """The engine of a card that nothing fits on."""
    engine = FakeEngine()
    engine.always = fails(error)
    return engine


@pytest.mark.parametrize("error", REFUSALS)
def test_what_one_card_refuses_is_left_to_another(harness: Harness, error: CyberImageError) -> None:
    engine, large = small_card(error), FakeEngine()
    jobs = [harness.submit(f"job {number}") for number in range(20)]
    harness.context.workers.heartbeat(WorkerReport("large", "elsewhere", 1, "cuda", device_id="cuda:0"))
    small = harness.start(engine)
    wait_until(lambda: engine.ran, "the small card took no job")
    harness.start(large, kind="rocm")
    for job_id in jobs:
        assert harness.completed(job_id).job.attempt <= 2
    assert len(engine.ran) == 1
    refused = harness.view(jobs[0]).job
    assert (refused.attempt, refused.max_attempts) == (2, 4), "the refusal counted"
    small.stop()


def test_a_refused_model_is_not_claimed_and_others_are(harness: Harness) -> None:
    """The large card is busy all the time."""
    harness.context.workers.heartbeat(
        WorkerReport("large", "elsewhere", 1, "cuda", state="busy", device_id="cuda:0", running=1)
    )
    refused = harness.submit()
    harness.start(small_card()).join()  # after out of memory its process is replaced
    assert harness.view(refused).job.status is JobStatus.PENDING
    fitting = FakeEngine()
    harness.start(fitting)
    harness.completed(harness.submit("fits", model_id="other"))
    assert (harness.view(refused).job.status, fitting.ran) == (JobStatus.PENDING, ["fits"])


def test_without_another_worker_the_refusal_is_the_job_s_error(harness: Harness) -> None:
    harness.start(small_card())
    job = harness.ended(harness.submit()).job
    assert (job.status, job.error_code, job.error_message) == (JobStatus.FAILED, "out_of_memory", REFUSALS[0].detail)


def test_when_all_have_refused_it_the_job_fails(harness: Harness) -> None:
    first, second = small_card(GpuRequired("No GPU.")), small_card(GpuRequired("No GPU."))
    harness.start(first, kind="rocm")
    harness.start(second)
    wait_until(lambda: len(harness.context.workers.live()) == 2, "they are not there")
    job = harness.ended(harness.submit()).job
    assert (job.status, job.error_code) == (JobStatus.FAILED, "gpu_required")
    assert (len(first.ran), len(second.ran)) == (1, 1)


def test_a_worker_that_is_being_replaced_is_waited_for(harness: Harness, monkeypatch) -> None:
    context = harness.context
    context.workers.heartbeat(WorkerReport("large", "elsewhere", 1, "cuda", device_id="cuda:0"))
    refusals = Refusals(context, "cpu")
    assert not refusals.left()
    assert refusals.add(Needs("fake"))
    assert set(refusals.left()) == {"fake"}
    context.workers.remove("large")
    assert set(refusals.left()) == {"fake"}
    monkeypatch.setattr("app.worker.refusals.RETURN_SECONDS", 0.0)
    assert not refusals.left()


def test_memory_of_models_on_the_cpu_is_not_reported_as_gpu_memory(harness: Harness, engine: FakeEngine, monkeypatch):
    held = [ResidentModel("here", "cpu", "float32", device_bytes=5), ResidentModel("there", "cuda:0", "float16", 7)]
    monkeypatch.setattr(engine, "resident", lambda: held)
    harness.start(engine)
    harness.completed(harness.submit())
    wait_until(lambda: [row["vram_bytes"] for row in harness.context.workers.live()] == [7], "not the GPU's alone")
