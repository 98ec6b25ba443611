"""A GPU that is not there, for tests of what is planned for it."""

from __future__ import annotations

import pytest
import torch

from app.core import memory_plan
from app.engines.diffusers.load import build
from app.engines.diffusers.load import parts as parts_module
from app.engines.diffusers.loader import Loader
from app.engines.diffusers.memory import model_cache as model_cache_module
from app.engines.diffusers.memory import planner as planner_module
from app.engines.diffusers.memory.model_cache import ModelCache
from tests.engines.diffusers.generate.control import Recorder

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
WORKING = 1000  # bytes that a part takes beside its weights


@pytest.fixture
def gpu(settings, spec_of, monkeypatch):
    """A loader for a GPU of a given size that is not there: what is placed on it stays where it is, and counts."""

    class Gpu:
        total = 0
        ram = 10**15
        model_cache = ModelCache(GPU)
        asked: list = []

        def free(self, device):
            if device.type == "cpu":
                return self.ram
            return self.total - sum(model.device_bytes for model in self.model_cache.resident_models())

        def load(self, repo, **options):
            spec = spec_of(repo, dtype="bfloat16", attention="native", **options)
            Loader(self.settings, GPU, self.model_cache).load(spec, Recorder())
            return self.model_cache.get(spec)

    gpu = Gpu()
    gpu.settings = settings
    gpu.asked = []
    for module in (planner_module, model_cache_module):
        monkeypatch.setattr(module, "free_bytes", gpu.free)
    monkeypatch.setattr(memory_plan, "working_bytes", lambda *_, **__: WORKING)
    monkeypatch.setattr(build, "place", lambda pipeline, load_plan: gpu.asked.append(load_plan.plan))
    monkeypatch.setattr(parts_module, "device_for", lambda load_plan: CPU)
    return gpu
