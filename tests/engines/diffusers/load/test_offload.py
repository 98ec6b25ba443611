"""Offload plans and memory savings call the corresponding diffusers functions."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import pytest
import torch
from diffusers import DiffusionPipeline

from app.core.memory_forms import Machine, possible_plans
from app.core.memory_plan import PLANS
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.offload import apply_memory_savings, place
from tests.engines.diffusers.generate.control import Recorder

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")


class Pipeline:
    """Notes what is asked of it. Each method it stands in for must exist in diffusers."""

    model_cpu_offload_seq: str | None = "text_encoder->unet->vae"
    components: ClassVar[dict[str, object]] = {}

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.vae = self

    def __getattr__(self, name: str):
        if not name.startswith("enable_") and name != "to":
            raise AttributeError(name)
        assert name == "enable_tiling" or hasattr(DiffusionPipeline, name)

        def note(*_, **__) -> None:
            self.asked.append(name)

        return note


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ("none", ["to"]),
        ("model", ["enable_model_cpu_offload"]),
        ("sequential", ["enable_sequential_cpu_offload"]),
    ],
)
def test_the_plan_is_followed(plan, expected) -> None:
    pipeline = Pipeline()
    place(pipeline, LoadPlan(GPU, torch.float16, plan=plan))
    assert pipeline.asked == expected


def test_what_is_possible() -> None:
    assert possible_plans(Machine(), {}) == PLANS
    assert possible_plans(Machine(cuda=False), {}) == ("none",)
    unordered = Machine(ordered=False)  # the pipeline does not say in which order its parts run
    assert possible_plans(unordered, {}) == ("none", "group", "sequential")


def test_what_is_offloaded_already_is_not_offloaded_once_more() -> None:
    pipeline = Pipeline()
    place(pipeline, LoadPlan(GPU, torch.float16, tiles=True, plan="sequential"))
    pipeline.use_tiling = True
    assert apply_memory_savings(pipeline, GPU, "sequential") == ("", "sequential")
    assert pipeline.asked == ["enable_sequential_cpu_offload", "enable_tiling"]


def test_short_of_memory_the_parts_wait_in_main_memory() -> None:
    pipeline = Pipeline()
    pipeline.use_tiling = True
    assert apply_memory_savings(pipeline, GPU, "none") == ("its parts are offloaded to main memory", "model")
    assert pipeline.asked == ["enable_model_cpu_offload"]


def test_tiling_is_on_from_the_start_when_it_is_asked_for(settings, spec_of, ask) -> None:
    engine = DiffusersEngine(dataclasses.replace(settings, vae_tiling=True))
    spec = spec_of("sd15")
    engine.load(spec, Recorder())
    assert engine._model_cache.get(spec).pipeline.vae.use_tiling
    assert len(engine.generate(spec, ask(), Recorder()).images) == 1


def test_no_more_models_are_kept_than_allowed(settings, spec_of) -> None:
    engine = DiffusersEngine(dataclasses.replace(settings, max_loaded_models=1))
    for repo in ("sd15", "flux"):
        engine.load(spec_of(repo), Recorder())
    assert len(engine.resident()) == 1
