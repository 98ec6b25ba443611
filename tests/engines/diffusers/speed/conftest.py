"""Models that are compiled by tracing only: what compiled code leaves out shows there, and no C++ compiler runs."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.speed import compilation
from tools.tiny_models.lora import make_lora


@pytest.fixture
def traced(monkeypatch):
    """The number of graphs that were compiled so far, by a backend that runs them as they are."""
    graphs = []

    def run_as_it_is(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(compilation, "BACKEND", run_as_it_is)
    torch._dynamo.reset()
    yield lambda: len(graphs)
    torch._dynamo.reset()


@pytest.fixture(scope="session")
def loras(tiny, tmp_path_factory):
    """A folder with a LoRA for the tiny FLUX, `style`."""
    folder = tmp_path_factory.mktemp("loras")
    make_lora(tiny / "flux", folder / "style.safetensors", strength=2.0)
    return folder


@pytest.fixture
def lora_engine(settings, loras) -> DiffusersEngine:
    return DiffusersEngine(dataclasses.replace(settings, loras_dir=loras))
