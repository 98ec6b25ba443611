"""Where a pipeline is put, and with what economies: the switches that diffusers has are the ones used."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from diffusers import DiffusionPipeline

from app.engines.diffusers.economy import economise, offload_plan, place
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.settings import EngineSettings
from tests.engines.control import Recorder

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")


class Pipeline:
    """Notes what is asked of it. Each method it stands in for must exist in diffusers."""

    model_cpu_offload_seq: str | None = "text_encoder->unet->vae"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.vae = self

    def __getattr__(self, name: str):
        if not name.startswith("enable_") and name != "to":
            raise AttributeError(name)
        assert name == "enable_tiling" or hasattr(DiffusionPipeline, name)

        def note(*_, **__) -> None:
            self.asked.append(name)
            if "offload" in name:
                self._offload_device = GPU

        return note


@pytest.mark.parametrize(
    ("device", "offload", "expected"),
    [
        (GPU, "none", ["to"]),
        (GPU, "model", ["enable_model_cpu_offload"]),
        (GPU, "sequential", ["enable_sequential_cpu_offload"]),
        (CPU, "model", ["to"]),
        (CPU, "sequential", ["to"]),
    ],
)
def test_the_offload_plan_is_followed(tmp_path, device, offload, expected) -> None:
    pipeline = Pipeline()
    place(pipeline, device, EngineSettings(tmp_path, tmp_path, offload=offload))
    assert pipeline.asked == expected


def test_a_pipeline_that_states_no_order_is_offloaded_layer_by_layer() -> None:
    pipeline = Pipeline()
    pipeline.model_cpu_offload_seq = None
    assert offload_plan(pipeline, GPU, "model") == "sequential"


def test_what_is_offloaded_already_is_not_offloaded_once_more(tmp_path) -> None:
    pipeline = Pipeline()
    place(pipeline, GPU, EngineSettings(tmp_path, tmp_path, offload="sequential", vae_tiling=True))
    pipeline.use_tiling = True
    assert economise(pipeline, GPU) == ""
    assert pipeline.asked == ["enable_sequential_cpu_offload", "enable_tiling"]


def test_tiling_is_on_from_the_start_when_it_is_asked_for(settings, spec_of, ask) -> None:
    engine = DiffusersEngine(dataclasses.replace(settings, vae_tiling=True))
    spec = spec_of("sd15")
    engine.load(spec, Recorder())
    assert engine._residency.get(spec).pipeline.vae.use_tiling
    assert len(engine.generate(spec, ask(), Recorder()).images) == 1


def test_no_more_models_are_kept_than_allowed(settings, spec_of) -> None:
    engine = DiffusersEngine(dataclasses.replace(settings, max_loaded_models=1))
    for repo in ("sd15", "flux"):
        engine.load(spec_of(repo), Recorder())
    assert len(engine.resident()) == 1
