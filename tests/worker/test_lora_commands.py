"""LoRAs loaded into the models of running workers on request, and freed there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.engines.base import ResidentModel
from app.errors import LoraIncompatible, LoraUnavailable
from app.services.jobs.notifications import JobNotifier
from app.services.ops.lora_loading import LoraLoading
from tests.api.native.test_loras import FLUX, safetensors
from tests.waiting import PATIENCE, wait_until
from tests.worker.fake_engine import FakeEngine, Gate
from tests.worker.harness import Harness


class WithLoras(FakeEngine):
    """Keeps the ids of LoRAs by model; `refuses` is raised instead."""

    def __init__(self, refuses: Exception | None = None) -> None:
        super().__init__()
        self.held: dict[str, list[str]] = {}
        self._refuses = refuses

    def load_lora(self, spec, lora_id, control) -> bool:
        if self._refuses is not None:
            raise self._refuses
        if spec.id not in self._models:
            return False
        self.held.setdefault(spec.id, []).append(lora_id)
        return True

    def unload_lora(self, model_id, lora_id) -> bool:
        held = self.held.get(model_id, [])
        self.held[model_id] = [known for known in held if known.casefold() != lora_id.casefold()]
        return len(self.held[model_id]) < len(held)

    def resident(self):
        return [ResidentModel(name, "cpu", "float32", loras=tuple(self.held.get(name, ()))) for name in self._models]


@pytest.fixture
def harness(new_harness: Callable[..., Harness], tmp_path: Path) -> Harness:
    folder, model = tmp_path / "loras", tmp_path / "flux"
    for place in (folder, model):
        place.mkdir()
    (folder / "ink.safetensors").write_bytes(safetensors(FLUX))
    (model / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    return new_harness(MODEL_FAKE=f"fake;{model};Fake;local;false", LORAS_DIR=str(folder))


def orders(harness: Harness) -> LoraLoading:
    return LoraLoading(harness.context, JobNotifier(harness.context), lambda: False)


def holding(harness: Harness, engine: WithLoras) -> WithLoras:
    """A worker that has the model in memory."""
    harness.start(engine)
    harness.completed(harness.submit())
    wait_until(lambda: any(row["models"] for row in harness.context.workers.live()), "the model was not reported")
    return engine


def test_it_is_loaded_into_the_model_that_a_worker_holds_and_freed_there(harness: Harness) -> None:
    engine = holding(harness, WithLoras())
    loaded = orders(harness).load_lora("ink", "Mine", PATIENCE)
    assert (loaded.status, loaded.models, engine.held) == ("loaded", ["fake"], {"fake": ["ink"]})
    unloaded = orders(harness).unload_lora("mine", PATIENCE)
    assert (unloaded.status, unloaded.models, engine.held) == ("unloaded", ["fake"], {"fake": []})
    again = orders(harness).unload_lora("mine", PATIENCE)
    assert (again.status, again.models) == ("not_loaded", [])


def test_one_that_a_job_loaded_is_freed_too(harness: Harness) -> None:
    engine = holding(harness, WithLoras())
    engine.held["fake"] = ["ink"]
    harness.completed(harness.submit())
    wait_until(
        lambda: any(model.get("loras") for row in harness.context.workers.live() for model in row["models"]),
        "the LoRA was not reported",
    )
    assert orders(harness).unload_lora("INK", PATIENCE).status == "unloaded"
    assert engine.held == {"fake": []}


def test_a_busy_worker_does_it_after_its_job(harness: Harness) -> None:
    engine = holding(harness, WithLoras())
    gate = engine.behaviours["slow"] = Gate()
    job_id = harness.submit("slow")
    gate.wait()
    assert orders(harness).load_lora("ink", None, 0).status == "loading"
    gate.opened.set()
    harness.completed(job_id)
    wait_until(lambda: engine.held == {"fake": ["ink"]}, "the LoRA was not loaded")


def test_without_a_worker_that_holds_a_model_the_next_job_loads_it(harness: Harness) -> None:
    assert orders(harness).load_lora("ink", None, PATIENCE).status == "will_be_loaded"
    assert orders(harness).unload_lora("ink", PATIENCE).status == "not_loaded"


def test_what_prevents_loading_is_raised_and_a_misfit_is_not_loaded(harness: Harness) -> None:
    engine = holding(harness, WithLoras(LoraUnavailable("The LoRA ink is damaged.")))
    with pytest.raises(LoraUnavailable, match="damaged"):
        orders(harness).load_lora("ink", None, PATIENCE)
    engine._refuses = LoraIncompatible("It does not fit.")
    assert orders(harness).load_lora("ink", None, PATIENCE).status == "will_be_loaded"
