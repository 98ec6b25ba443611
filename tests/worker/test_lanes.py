"""The remote lane: runs jobs concurrently, independent of the local lane."""

from __future__ import annotations

import threading

import pytest

from app.core.job import JobStatus
from app.services.ops.stats import readiness, summary
from app.worker.executor import ThreadedExecutor
from app.worker.loop import Worker
from tests.waiting import PATIENCE, wait_until
from tests.worker.fake_engine import FakeEngine, Gate
from tests.worker.harness import Harness

REMOTE = "far;owner/name;Far away;replicate;false"


@pytest.fixture
def harness(new_harness) -> Harness:
    return new_harness(MODEL_FAR=REMOTE, REPLICATE_API_TOKEN="t")


@pytest.fixture
def remote_worker(harness: Harness, engine: FakeEngine):
    """A worker of the remote lane with three slots."""
    worker = Worker(
        harness.context, {"replicate": lambda: engine}, "remote", lane="remote", executor=ThreadedExecutor(3)
    )
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    yield worker
    worker.stop(0)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def running(harness: Harness) -> int:
    return summary(harness.context).lanes["remote"].running


def test_it_runs_as_many_jobs_as_it_has_slots(harness: Harness, engine: FakeEngine, remote_worker: Worker) -> None:
    gates = {str(number): Gate() for number in range(4)}
    engine.behaviours = dict(gates)
    jobs = [harness.submit(name, model_id="far") for name in gates]
    for name in ("0", "1", "2"):
        gates[name].wait()
    wait_until(lambda: [w["running"] for w in harness.context.workers.live()] == [3], "it never said so")
    lanes = summary(harness.context).lanes
    assert vars(lanes["remote"]) == {"workers": 1, "slots": 3, "waiting": 1, "running": 3}
    assert vars(lanes["local"]) == {"workers": 0, "slots": 0, "waiting": 0, "running": 0}
    gates["1"].opened.set()
    harness.completed(jobs[1])
    gates["3"].wait()
    for gate in gates.values():
        gate.opened.set()
    assert all(harness.completed(job).outputs for job in jobs)


def test_neither_lane_waits_for_the_other(harness: Harness, engine: FakeEngine, remote_worker: Worker) -> None:
    remote, local, near = Gate(), Gate(), FakeEngine()
    engine.behaviours, near.behaviours = {"slow": remote}, {"slow": local}
    harness.start(near)
    slow = [harness.submit("slow", model_id="far"), harness.submit("slow")]
    remote.wait()
    local.wait()
    local.opened.set()
    harness.completed(slow[1])
    harness.completed(harness.submit("quick"))
    harness.completed(harness.submit("quick", model_id="far"))
    assert harness.view(slow[0]).job.status is JobStatus.PROCESSING
    remote.opened.set()
    harness.completed(slow[0])
    assert (engine.ran, near.ran) == (["slow", "quick"], ["slow", "quick"])


def test_a_stop_requeues_all_running_jobs(harness: Harness, engine: FakeEngine, remote_worker: Worker) -> None:
    engine.behaviours = {str(number): Gate() for number in range(3)}
    jobs = [harness.submit(name, model_id="far") for name in engine.behaviours]
    wait_until(lambda: running(harness) == 3, "not all were taken")
    remote_worker.stop(0)
    # A job that was claimed while the stop arrived is given back a moment later.
    wait_until(lambda: {harness.view(job).job.status for job in jobs} == {JobStatus.PENDING}, "not all were given back")


def test_readiness_requires_the_default_model(harness: Harness, engine: FakeEngine, remote_worker: Worker) -> None:
    wait_until(lambda: harness.context.workers.live(), "the worker never registered")
    assert "default model" in readiness(harness.context).checks["workers"]
    remote_only = harness.open(DEFAULT_MODEL_ID="far")
    assert readiness(remote_only).ready


def test_a_failing_thread_exits_the_process(monkeypatch) -> None:
    ended: list[int] = []
    done = threading.Event()

    def exit_hard(status: int) -> None:
        ended.append(status)
        done.set()

    monkeypatch.setattr("app.process.threads.exit_hard", exit_hard)
    remote_worker = ThreadedExecutor(1)

    def broken() -> None:
        raise RuntimeError("broken on purpose")

    remote_worker.submit(broken)
    assert done.wait(PATIENCE)
    assert ended == [72]
