"""Models idle for MODEL_IDLE_SECONDS are unloaded, and loaded again by the next job."""

from __future__ import annotations

import time
from types import SimpleNamespace

from tests.waiting import wait_until
from tests.worker.fake_engine import FakeEngine, Gate
from tests.worker.harness import Harness


def resident(harness: Harness) -> set[str]:
    return {model["model_id"] for worker in harness.context.workers.live() for model in worker["models"]}


def test_an_idle_model_is_unloaded_and_loaded_again(new_harness, engine: FakeEngine) -> None:
    harness = new_harness(MODEL_IDLE_SECONDS="0.5")
    harness.start(engine)
    harness.completed(harness.submit())
    wait_until(lambda: not engine.resident(), "the model was never dropped")
    wait_until(lambda: not resident(harness), "the worker's report still shows it")
    harness.completed(harness.submit())
    assert len(engine.ran) == 2


def test_only_the_idle_model_is_unloaded(new_harness, engine: FakeEngine, monkeypatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("app.worker.model_commands.time", SimpleNamespace(monotonic=lambda: clock[0]))
    harness = new_harness(MODEL_IDLE_SECONDS="100")
    harness.start(engine)
    for model_id in ("other", "fake"):
        harness.completed(harness.submit(model_id=model_id))
    clock[0] = 80.0
    harness.completed(harness.submit(model_id="fake"))
    wait_until(lambda: len(resident(harness)) == 2, "the report does not show both")
    clock[0] = 150.0
    wait_until(lambda: resident(harness) == {"fake"}, "the idle one was not dropped")
    clock[0] = 179.0
    time.sleep(0.5)
    assert resident(harness) == {"fake"}
    clock[0] = 181.0
    wait_until(lambda: not resident(harness), "the other one was not dropped either")


def test_a_job_longer_than_the_limit_keeps_its_model(new_harness, engine: FakeEngine) -> None:
    harness = new_harness(MODEL_IDLE_SECONDS="0.2")
    gate = engine.behaviours["slow"] = Gate()
    harness.start(engine)
    job_id = harness.submit("slow")
    gate.wait()
    time.sleep(0.6)
    assert [model.model_id for model in engine.resident()] == ["fake"]
    gate.opened.set()
    harness.completed(job_id)


def test_never_by_default(harness: Harness, engine: FakeEngine) -> None:
    harness.start(engine)
    harness.completed(harness.submit())
    time.sleep(0.5)
    assert len(engine.resident()) == 1
