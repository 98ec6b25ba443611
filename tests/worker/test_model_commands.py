"""Load and unload requests to running workers: their results, and running jobs undisturbed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from app.core.load_requests import LoadAction, LoadRequest
from app.errors import LoadCancelled, ModelUnavailable, NoWorker, OutOfMemory, UnknownModel, WorkerDied
from app.services.jobs.notifications import JobNotifier
from app.services.ops import metrics, stats
from app.services.ops.model_loading import Loaded, ModelLoading, Unloaded
from app.store.queue.workers import WorkerReport
from app.worker.model_commands import ModelCommand
from tests.waiting import PATIENCE, wait_until
from tests.worker.fake_engine import FakeEngine, Gate
from tests.worker.harness import Harness


def stream_hub(harness: Harness) -> ModelLoading:
    return ModelLoading(harness.context, JobNotifier(harness.context), lambda: False)


def resident(harness: Harness) -> list[set[str]]:
    return [{model["model_id"] for model in worker["models"]} for worker in harness.context.workers.live()]


class Loading(FakeEngine):
    """Loads as `how` says: it may wait, or raise."""

    def __init__(self, how: Callable[..., object]) -> None:
        super().__init__()
        self._how = how

    def load(self, spec, control) -> None:
        self._how(control)
        super().load(spec, control)


def live(harness: Harness, count: int = 1) -> None:
    wait_until(lambda: len(harness.context.workers.live()) == count, "no live worker")


def taken_by(harness: Harness, worker_id: str) -> LoadRequest:
    taken: list[LoadRequest | None] = [None]

    def take() -> bool:
        taken[0] = harness.context.load_requests.take(worker_id)
        return taken[0] is not None

    wait_until(take, "no request was taken")
    assert taken[0] is not None
    return taken[0]


def later(work: Callable[[], object]) -> Future:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return future


def test_load_and_unload_results(harness: Harness, engine: FakeEngine) -> None:
    harness.start(engine)
    live(harness)
    requests = stream_hub(harness)
    loaded = requests.load("fake", PATIENCE)
    assert (loaded.status, loaded.model_id) == ("loaded", "fake")
    assert loaded.seconds is not None
    assert resident(harness) == [{"fake"}]
    assert requests.load("fake", PATIENCE).status == "already_loaded"
    assert requests.load("other", PATIENCE).status == "loaded"
    assert requests.unload("fake", PATIENCE) == Unloaded("unloaded", ["fake"], 1)
    assert resident(harness) == [{"other"}]
    assert requests.unload("fake", PATIENCE) == Unloaded("not_loaded", [], 0)
    assert requests.unload(None, PATIENCE) == Unloaded("unloaded", ["other"], 1)
    assert resident(harness) == [set()]
    harness.completed(harness.submit())  # and it is loaded again by who needs it


def test_a_parked_model_is_restored_and_unloaded(harness: Harness, engine: FakeEngine) -> None:
    engine.park("fake")
    harness.start(engine)
    live(harness)
    requests = stream_hub(harness)
    requests.load("other", PATIENCE)
    wait_until(lambda: resident(harness) == [{"fake", "other"}], "not both are listed")
    assert {state.spec.id for state in stats.models(harness.context) if state.loaded} == {"other"}
    gauges = {metric.name: metric for metric in metrics._workers(harness.context.workers.live(), {})}
    held = [[sample.labels for sample in gauges[f"cyberimage_models_{name}"].samples] for name in ("loaded", "parked")]
    assert held == [[{"model": "other"}], [{"model": "fake"}]]
    assert requests.load("fake", PATIENCE).status == "loaded"
    engine.park("other")
    assert requests.unload(None, PATIENCE) == Unloaded("unloaded", ["fake", "other"], 1)
    assert engine.resident() == []


def test_every_worker_that_holds_it_unloads_it(harness: Harness) -> None:
    engines = [FakeEngine(), FakeEngine()]
    gates = [Gate(), Gate()]
    for engine, gate in zip(engines, gates, strict=True):
        engine.behaviours = {f"job {other}": gate for other in range(2)}
        harness.start(engine)
    jobs = [harness.submit(f"job {number}") for number in range(2)]
    for gate in gates:
        gate.wait()
    for gate in gates:
        gate.opened.set()
    for job in jobs:
        harness.completed(job)
    wait_until(lambda: resident(harness) == [{"fake"}] * 2, "not both hold it")
    assert stream_hub(harness).unload("fake", PATIENCE) == Unloaded("unloaded", ["fake"], 2)
    assert not any(engine.resident() for engine in engines)


def test_a_running_job_is_not_disturbed(harness: Harness, engine: FakeEngine) -> None:
    gate = engine.behaviours["slow"] = Gate()
    harness.start(engine)
    job_id = harness.submit("slow")
    gate.wait()
    wait_until(lambda: resident(harness) in ([set()], [{"fake"}]), "no worker")
    assert stream_hub(harness).load("other", timeout=0.05) == Loaded("loading", "other")
    assert [model.model_id for model in engine.resident()] == ["fake"]
    gate.opened.set()
    assert stream_hub(harness).load("other", PATIENCE).status in ("loaded", "already_loaded")
    harness.completed(job_id)


def test_two_equal_requests_share_one_load(harness: Harness) -> None:
    gate = Gate()
    loads: list[object] = []
    engine = Loading(lambda control: (loads.append(1), gate(control)))
    harness.start(engine)
    live(harness)
    both = [later(lambda: stream_hub(harness).load("fake", PATIENCE))]
    gate.wait()
    both.append(later(lambda: stream_hub(harness).load("fake", PATIENCE)))
    wait_until(lambda: [worker["state"] for worker in harness.context.workers.live()] == ["loading"], "its state")
    gate.opened.set()
    assert {one.result(PATIENCE).status for one in both} <= {"loaded", "already_loaded"}
    assert len(loads) == 1


@pytest.mark.parametrize("error", [ModelUnavailable("It is missing."), RuntimeError("odd"), OutOfMemory("Large.")])
def test_a_failed_load_returns_its_error(harness: Harness, error: Exception) -> None:
    def fail(_: object) -> None:
        raise error

    running = harness.start(Loading(fail))
    live(harness)
    expected = type(error) if not isinstance(error, RuntimeError) else Exception
    with pytest.raises(expected, match=r"missing|unexpectedly|Large"):
        stream_hub(harness).load("fake", PATIENCE)
    if isinstance(error, OutOfMemory):
        running.join()
        assert running.recycled
    else:
        assert running.recycled is None


def test_an_unknown_model_and_no_worker(harness: Harness) -> None:
    with pytest.raises(UnknownModel):
        stream_hub(harness).load("none", 1)
    with pytest.raises(NoWorker):
        stream_hub(harness).load("fake", 1)
    with pytest.raises(NoWorker):
        stream_hub(harness).unload(None, 1)


def test_a_providers_model_needs_no_worker(new_harness) -> None:
    harness = new_harness(MODEL_FAR="far;owner/far;Somebody else's;replicate;false")
    assert stream_hub(harness).load("far", 1) == Loaded("already_loaded", "far")


def test_a_worker_that_dies_while_loading_is_reported(harness: Harness) -> None:
    workers = harness.context.workers
    workers.heartbeat(WorkerReport("doomed", "here", 1, "cpu"))
    waiting = later(lambda: stream_hub(harness).load("fake", PATIENCE))
    taken_by(harness, "doomed")
    workers.remove("doomed")
    with pytest.raises(WorkerDied):
        waiting.result(PATIENCE)
    workers.heartbeat(WorkerReport("fresh", "here", 1, "cpu"))
    waiting = later(lambda: stream_hub(harness).load("fake", PATIENCE))
    request = taken_by(harness, "fresh")  # another one: the dead worker's is not waited for again
    harness.context.load_requests.done(request)
    harness.context.notifications.publish("news", request.id)
    assert waiting.result(PATIENCE).worker_id == "fresh"


def test_a_stopping_worker_releases_its_request(harness: Harness) -> None:
    gate = Gate()
    first = harness.start(Loading(gate))
    live(harness)
    waiting = later(lambda: stream_hub(harness).load("fake", PATIENCE))
    gate.wait()
    second = FakeEngine()
    harness.start(second)
    first.stop()
    assert waiting.result(PATIENCE).status == "loaded"
    assert second.resident()


def test_unloading_withdraws_a_load_request(harness: Harness) -> None:
    gate = Gate()
    engine = Loading(lambda control: (control.downloaded(1000, 9000), gate(control)))
    harness.start(engine)
    live(harness)
    waiting = later(lambda: stream_hub(harness).load("fake", PATIENCE))
    gate.wait()
    (request,) = harness.context.load_requests.being_loaded()
    assert (request.downloaded_bytes, request.total_bytes) == (1000, 9000)
    assert stream_hub(harness).unload("fake", PATIENCE) == Unloaded("unloading", ["fake"], 0)
    with pytest.raises(LoadCancelled, match="Load it again"):
        waiting.result(PATIENCE)
    wait_until(lambda: harness.context.workers.live()[0]["state"] == "idle", "it goes on loading")
    assert engine.resident() == []
    gate.opened.set()
    assert stream_hub(harness).load("fake", PATIENCE).status == "loaded"  # it is as good as before


def test_a_finished_load_that_was_withdrawn_is_undone(harness: Harness) -> None:
    def load(_: object) -> None:
        harness.context.load_requests.cancel("fake", LoadCancelled("Enough."))

    engine = Loading(load)
    harness.start(engine)
    live(harness)
    with pytest.raises(LoadCancelled):
        stream_hub(harness).load("fake", PATIENCE)
    wait_until(lambda: not engine.resident(), "it stayed")


def test_download_speed_is_measured_from_the_first_report(harness: Harness, monkeypatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("app.worker.model_commands.time", SimpleNamespace(monotonic=lambda: clock[0]))
    request = harness.context.load_requests.create(LoadAction.LOAD, "fake", lifetime=60)
    taken = taken_by(harness, "w1")
    command = ModelCommand(taken, harness.context.load_requests, threading.Event(), 60)

    def reported(seconds: float, done: int) -> tuple[int | None, float | None]:
        clock[0] = seconds
        command.downloaded(done, 9000)
        seen = harness.context.load_requests.get(request.id)
        assert seen is not None
        return seen.downloaded_bytes, seen.eta_seconds

    assert reported(100, 5000) == (5000, None)  # they were here already
    assert reported(100.1, 5100) == (5000, None)  # not more often than LOOK_EVERY_SECONDS
    assert reported(102, 6000) == (6000, 6.0)
    assert reported(102.1, 9000) == (9000, 0.0)  # the last report is always written
    assert not command.cancelled()
    harness.context.load_requests.cancel("fake", LoadCancelled("Enough."))
    clock[0] = 104
    assert command.cancelled()


def test_loading_that_takes_too_long_is_stopped(new_harness) -> None:
    harness = new_harness(LOAD_TIMEOUT_SECONDS="0.3")
    harness.start(Loading(Gate()))
    live(harness)
    with pytest.raises(Exception, match="LOAD_TIMEOUT_SECONDS"):
        stream_hub(harness).load("fake", PATIENCE)


def test_requests_are_carried_out_between_jobs(harness: Harness, engine: FakeEngine, monkeypatch) -> None:
    """A worker that always has jobs checks for requests too."""
    monkeypatch.setattr("app.worker.model_commands.LOOK_EVERY_SECONDS", 0.05)
    jobs = [harness.submit(f"job {number}") for number in range(200)]
    harness.start(engine)
    live(harness)
    assert stream_hub(harness).load("other", PATIENCE).status == "loaded"
    assert len(engine.ran) < len(jobs)


def test_an_older_row_does_not_overwrite_a_newer_one(harness: Harness, engine: FakeEngine, monkeypatch) -> None:
    """A heartbeat that is slow to write must not undo the row that the load request wrote."""
    heartbeat, workers = harness.start(engine).worker._heartbeat, harness.context.workers
    live(harness)
    describe, beat, slow, written = heartbeat._report, workers.heartbeat, Gate(obeys=False), []

    def slowly():
        report = describe()
        if not slow.reached.is_set():
            slow.reached.set()
            slow.opened.wait(0.5)
        return report

    def write(report):
        beat(report)
        written.append(len(report.models))

    monkeypatch.setattr(workers, "heartbeat", write)
    monkeypatch.setattr(heartbeat, "_report", slowly)
    slow.wait()
    assert stream_hub(harness).load("fake", PATIENCE).status == "loaded"
    wait_until(lambda: len(written) >= 4, "no more heartbeats")
    assert written == sorted(written)
