"""A model that nobody has asked for in MODEL_IDLE_SECONDS is dropped, and loaded again when somebody does."""

from __future__ import annotations

import time

from tests.waiting import wait_until
from tests.worker.fake_engine import FakeEngine, Gate
from tests.worker.place import Place


def resident(place: Place) -> set[str]:
    return {model["model_id"] for worker in place.installation.workers.live() for model in worker["models"]}


def test_an_idle_model_is_dropped_and_comes_back(new_place, engine: FakeEngine) -> None:
    place = new_place(MODEL_IDLE_SECONDS="0.5")
    place.start(engine)
    place.completed(place.submit())
    wait_until(lambda: not engine.resident(), "the model was never dropped")
    wait_until(lambda: not resident(place), "the worker's report still shows it")
    place.completed(place.submit())
    assert len(engine.ran) == 2


def test_a_model_that_is_used_stays_while_another_goes(new_place, engine: FakeEngine) -> None:
    place = new_place(MODEL_IDLE_SECONDS="1.5")
    place.start(engine)
    place.completed(place.submit(model_id="other"))
    give_up_at = time.monotonic() + 30
    while "other" in {model.model_id for model in engine.resident()} and time.monotonic() < give_up_at:
        place.completed(place.submit(model_id="fake"))
    assert [model.model_id for model in engine.resident()] == ["fake"]


def test_a_job_that_takes_longer_than_that_keeps_its_model(new_place, engine: FakeEngine) -> None:
    place = new_place(MODEL_IDLE_SECONDS="0.2")
    gate = engine.behaviours["slow"] = Gate()
    place.start(engine)
    job_id = place.submit("slow")
    gate.wait()
    time.sleep(0.6)
    assert [model.model_id for model in engine.resident()] == ["fake"]
    gate.opened.set()
    place.completed(job_id)


def test_never_by_default(place: Place, engine: FakeEngine) -> None:
    place.start(engine)
    place.completed(place.submit())
    time.sleep(0.5)
    assert len(engine.resident()) == 1
