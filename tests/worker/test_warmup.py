"""What a worker does before it takes jobs (PRELOAD)."""

from __future__ import annotations

import gc
import threading

from app.core.catalog import ModelSpec
from app.core.job import JobStatus, Phase
from app.errors import DeviceFailed, ModelUnavailable
from app.services.ops.stats import readiness
from tests.waiting import PATIENCE, wait_until
from tests.worker.fake_engine import Card, FakeEngine
from tests.worker.harness import Harness


class Held:
    """Holds the import of one model until it is opened."""

    def __init__(self, engine: FakeEngine, model_id: str = "fake") -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self._model_id = model_id
        engine.importing = self._hold

    def _hold(self, spec: ModelSpec) -> None:
        if spec.id == self._model_id:
            self.reached.set()
            assert self.opened.wait(PATIENCE)


def states(harness: Harness) -> list[str]:
    return [worker["state"] for worker in harness.context.workers.live()]


def test_no_job_is_taken_and_the_service_is_not_ready_until_it_ends(harness: Harness, engine: FakeEngine) -> None:
    held = Held(engine)
    job_id = harness.submit()
    harness.start(engine)
    assert held.reached.wait(PATIENCE)
    wait_until(lambda: states(harness) == ["starting"], "the worker does not say that it starts")
    assert "starting" in readiness(harness.context).problems["workers"]
    assert harness.view(job_id).job.status is JobStatus.PENDING
    held.opened.set()
    done = harness.completed(job_id)
    assert Phase.STARTING.value in done.job.timings
    assert {"fake", "other"} <= set(engine.imported)
    wait_until(lambda: states(harness) == ["idle"], "the worker does not say that it is idle")
    assert readiness(harness.context).ready


def test_a_stop_ends_it(harness: Harness, engine: FakeEngine) -> None:
    held = Held(engine)
    running = harness.start(engine)
    assert held.reached.wait(PATIENCE)
    running.worker.stop(grace=0)
    held.opened.set()
    running.join()
    assert engine.imported[-1] == "fake"


def test_chosen_models_are_loaded(new_harness, engine: FakeEngine) -> None:
    harness = new_harness(PRELOAD="other,fake")
    harness.start(engine)
    wait_until(lambda: states(harness) == ["idle"], "the worker never was ready")
    (worker,) = harness.context.workers.live()
    assert [model["model_id"] for model in worker["models"]] == ["other", "fake"]


def test_none_imports_nothing(new_harness, engine: FakeEngine) -> None:
    harness = new_harness(PRELOAD="none")
    harness.start(engine)
    harness.completed(harness.submit())
    assert not engine.imported


def test_a_model_that_cannot_be_loaded_does_not_stop_the_others(new_harness, engine: FakeEngine, caplog) -> None:
    harness = new_harness(PRELOAD="other")
    engine.load_error = ModelUnavailable("The model other is missing.")
    harness.start(engine)
    wait_until(lambda: states(harness) == ["idle"], "the worker never was ready")
    assert "The model other is missing." in caplog.text
    engine.load_error = None
    harness.completed(harness.submit())


def test_a_device_that_fails_meanwhile_is_tested_by_the_next_process(new_harness, engine: FakeEngine) -> None:
    harness = new_harness(PRELOAD="other")
    engine.load_error = DeviceFailed("CUDA error: an illegal memory access was encountered")
    job_id = harness.submit()
    running = harness.start(engine)
    running.join()
    assert running.recycled
    assert running.worker.device_failed
    assert harness.view(job_id).job.status is JobStatus.PENDING
    card = Card()
    engine.load_error = None
    harness.start(engine, card=card)
    harness.completed(job_id)
    assert card.tests == 1


def test_what_was_imported_is_exempt_from_garbage_collection(harness: Harness, engine: FakeEngine) -> None:
    gc.unfreeze()
    job_id = harness.submit()
    harness.start(engine)
    harness.completed(job_id)
    assert gc.get_freeze_count() > 0


def test_with_preload_none_nothing_is(new_harness, engine: FakeEngine) -> None:
    harness = new_harness(PRELOAD="none")
    gc.unfreeze()
    job_id = harness.submit()
    harness.start(engine)
    harness.completed(job_id)
    assert gc.get_freeze_count() == 0
