"""A broken device fails no job: jobs are given back, the process is replaced, and the device is tested before it is
used again."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

import pytest

from app.core.job import JobStatus
from app.core.load_requests import LoadAction, LoadState
from app.engines.diffusers.device_check import problem_of
from app.errors import OutOfMemory
from app.worker.device_test import run_device_test
from tests.waiting import PATIENCE, wait_until
from tests.worker.fake_engine import Card, FakeEngine, fails
from tests.worker.harness import Harness, RunningWorker

pytestmark = pytest.mark.usefixtures("hurried", "quick_tests")

STICKY = RuntimeError("CUDA error: an illegal memory access was encountered")
ODD = RuntimeError("something that nobody foresaw")


@pytest.fixture
def quick_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.worker.device.TEST_PAUSE_SECONDS", 0.05)


class Supervised:
    """Workers with the same card, one after the other, as the supervisor would start them. Use as a context manager."""

    def __init__(self, harness: Harness, card: Card) -> None:
        self._harness = harness
        self._card = card
        self._stopping = threading.Event()
        self.started = 0
        self.running: RunningWorker | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.started += 1
            self.running = self._harness.start(self._card.process(), card=self._card)
            self.running.join()

    def __enter__(self) -> Supervised:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        give_up_at = time.monotonic() + PATIENCE
        while self._thread.is_alive() and time.monotonic() < give_up_at:
            if self.running is not None:
                self.running.worker.stop(0)
            self._thread.join(0.1)


def statuses(harness: Harness, jobs: list[str]) -> list[JobStatus]:
    return [harness.view(job).job.status for job in jobs]


@pytest.mark.parametrize("error", [STICKY, ODD, AttributeError("'NoneType' object has no attribute 'shape'")])
def test_twenty_jobs_on_a_device_that_breaks_at_every_third_picture(harness: Harness, error: Exception) -> None:
    card = Card(draws=2, error=error)
    jobs = [harness.submit(f"picture {number}") for number in range(20)]
    with Supervised(harness, card) as supervised:
        for job in jobs:
            harness.completed(job)
    assert supervised.started >= 10
    assert card.tests >= 9, "each new process tests the device"


@pytest.mark.parametrize("error", [STICKY, ODD])
def test_a_device_that_never_recovers_fails_no_job(harness: Harness, error: Exception) -> None:
    card = Card(draws=2, error=error)
    jobs = [harness.submit(f"picture {number}") for number in range(6)]
    with Supervised(harness, card):
        harness.completed(jobs[1])
        card.problem = "CUDA error: unspecified launch failure"
        wait_until(lambda: card.tests >= 4, "it was not tested again")
        assert JobStatus.FAILED not in statuses(harness, jobs)
        (row,) = harness.context.workers.live()
        assert (row["state"], row["slots"], row["device_error"]) == ("unhealthy", 0, card.problem)
        card.problem = None
        for job in jobs:
            harness.completed(job)
        wait_until(lambda: [w["state"] for w in harness.context.workers.live()] == ["idle"], "it is not used again")


def test_the_attempt_does_not_count(harness: Harness) -> None:
    job_id = harness.submit()
    engine = FakeEngine()
    engine.behaviours["a boat"] = fails(STICKY)
    running = harness.start(engine)
    running.join()
    assert running.recycled is True
    job = harness.view(job_id).job
    assert (job.status, job.attempt, job.max_attempts) == (JobStatus.PENDING, 1, 4)
    assert job.error_code == "device_failed"


def test_an_error_while_a_model_is_loaded_counts_too(harness: Harness, engine: FakeEngine, monkeypatch) -> None:
    monkeypatch.setattr(engine, "load", lambda *_: fails(STICKY)(None))  # type: ignore[arg-type]
    request = harness.context.load_requests.create(LoadAction.LOAD, "fake", lifetime=60)
    running = harness.start(engine)
    running.join()
    assert running.recycled is True
    seen = harness.context.load_requests.get(request.id)
    assert seen is not None
    assert seen.state is LoadState.PENDING, "another process may load it"
    harness.start(FakeEngine())
    wait_until(lambda: harness.context.load_requests.get(request.id).state is LoadState.DONE, "it was not loaded")


def test_a_merged_call_gives_all_its_jobs_back(new_harness: Callable[..., Harness]) -> None:
    harness = new_harness(MERGE_JOBS="4")
    card = Card(draws=1)
    with Supervised(harness, card):
        jobs = [harness.submit(f"picture {number}") for number in range(8)]
        for job in jobs:
            assert harness.completed(job).job.error_code is None


def test_an_unexpected_error_of_the_same_job_in_a_new_process_is_the_jobs(harness: Harness) -> None:
    harness.submit("good")
    bad, other = harness.submit("bad"), harness.submit("other")

    def process() -> FakeEngine:
        engine = FakeEngine()
        engine.behaviours["bad"] = fails(ODD)
        return engine

    card = Card()
    card.process = process  # type: ignore[method-assign]
    with Supervised(harness, card):
        job = harness.ended(bad).job
        assert (job.status, job.error_code) == (JobStatus.FAILED, "generation_failed")
        harness.completed(other)
        harness.completed(harness.submit("later"))


def test_known_errors_are_never_the_devices(harness: Harness, engine: FakeEngine) -> None:
    engine.behaviours["a boat"] = fails(RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"))
    running = harness.start(engine)
    harness.completed(harness.submit("good"))
    for _ in range(2):
        assert harness.ended(harness.submit()).job.error_code == "generation_failed"
    harness.completed(harness.submit("good"))
    assert running.recycled is None


@pytest.mark.parametrize("text", ["CUDA error: out of memory", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"])
def test_memory_texts_are_out_of_memory(harness: Harness, engine: FakeEngine, text: str) -> None:
    engine.behaviours["a boat"] = fails(RuntimeError(text))
    harness.start(engine)
    assert harness.ended(harness.submit()).job.error_code == OutOfMemory.code


def test_pauses_between_tests_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.worker import device

    monkeypatch.setattr(device, "TEST_PAUSE_SECONDS", 5.0)
    assert [device._pause(failures) for failures in range(9)] == [0, 5, 10, 20, 40, 80, 160, 300, 300]


def test_the_cpu_passes_the_test() -> None:
    assert problem_of("cpu") is None


def test_a_gpu_that_is_not_there_fails_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "sees no GPU" in (problem_of("cuda") or "")


def test_wrong_results_fail_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.equal", lambda *_: False)
    assert problem_of("cpu") == "it computes wrong results"


def test_the_process_that_tests_may_die_or_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    going = threading.Event()
    run = lambda code: run_device_test((sys.executable, "-c", code), going)  # noqa: E731
    assert run("pass") is None
    assert run("print('CUDA error: device lost'); raise SystemExit(1)") == "CUDA error: device lost"
    assert "exit status -11" in (run("import os; os.kill(os.getpid(), 11)") or "")
    monkeypatch.setattr("app.worker.device_test.TIMEOUT_SECONDS", 0.2)
    assert "did not end" in (run("import time; time.sleep(600)") or "")
