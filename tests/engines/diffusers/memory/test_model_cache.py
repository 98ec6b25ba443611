"""Model cache: evicts the least recently used models, and refuses before loading what cannot fit."""

from __future__ import annotations

import logging
import re

import pytest
import torch

from app.core import memory_plan
from app.engines.diffusers.memory import memory, model_cache, planner
from app.engines.diffusers.memory.memory import part_bytes
from app.errors import OutOfMemory
from tests.engines.diffusers.generate.control import Recorder


@pytest.fixture
def room(engine, monkeypatch):
    """Give the device a size: weights of what is loaded count, and `working` bytes are needed beside them."""

    def set_room(total_bytes, working=1000):
        def free(_):
            return total_bytes - sum(model.host_bytes for model in engine.resident())

        for module in (model_cache, planner):
            monkeypatch.setattr(module, "free_bytes", free)
        monkeypatch.setattr(memory_plan, "CPU_WORKING_BYTES", working)

    return set_room


def ids(engine):
    return [model.model_id for model in engine.resident()]


def test_models_stay_warm_and_are_listed_by_last_use(engine, spec_of):
    for family in ("flux", "sd15", "sd35", "flux"):
        engine.load(spec_of(family), Recorder())
    assert ids(engine) == ["sd15", "sd35", "flux"]
    control = Recorder()
    engine.load(spec_of("sd15"), control)
    assert control.reports == []


def test_the_least_recently_used_makes_room(engine, spec_of, room):
    room(3_500_000)  # flux 0.9 MB, sd35 1.4, sd15 1.3
    for family in ("flux", "sd35", "flux", "sd15"):
        engine.load(spec_of(family), Recorder())
    assert ids(engine) == ["flux", "sd15"]


def test_a_model_too_large_for_an_empty_machine_is_refused_before_loading(engine, spec_of, room, monkeypatch):
    room(500_000)
    monkeypatch.setattr("app.engines.diffusers.loader.build_pipeline", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(OutOfMemory, match=r"flux needs about .* GB of memory on cpu, where .* free"):
        engine.load(spec_of("flux"), Recorder())


@pytest.mark.parametrize("family", ["flux", "sd35", "sd15", "sdxl", "sana"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_estimate_before_loading_is_the_size_after_it(engine, spec_of, family, dtype):
    spec = spec_of(family, dtype=dtype)
    engine.load(spec, Recorder())
    model = engine._model_cache.get(spec)
    assert engine.resident()[0].dtype == dtype
    estimate = model.checkpoint.bytes_at(model.dtype.itemsize)
    assert estimate == pytest.approx(sum(part_bytes(model.pipeline).values()), rel=0.08)


def test_unloading_frees_and_ignores_the_unknown(engine, spec_of):
    engine.load(spec_of("flux"), Recorder())
    engine.unload("flux")
    engine.unload("nobody")
    assert engine.resident() == []


def test_a_changed_catalogue_line_is_loaded_anew(engine, spec_of):
    engine.load(spec_of("flux"), Recorder())
    engine.load(spec_of("flux", dtype="bfloat16"), Recorder())
    assert [(model.model_id, model.dtype) for model in engine.resident()] == [("flux", "bfloat16")]


def test_a_container_limit_counts_as_the_machines_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    plenty = memory.free_bytes(torch.device("cpu"))
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("2500000\n")
    (tmp_path / "memory.stat").write_text("anon 1500000\nfile 1000000\n")
    assert memory.free_bytes(torch.device("cpu")) == 1_500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes(torch.device("cpu")) == pytest.approx(plenty, rel=0.2)


def test_loading_and_unloading_log_the_memory_before_and_after(engine, spec_of, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cyberimage"), "propagate", True)
    caplog.set_level("INFO", "cyberimage.models")
    engine.load(spec_of("flux"), Recorder())
    engine.unload(spec_of("flux").id)
    lines = [record.getMessage() for record in caplog.records if re.search(r"; RSS \d+ → \d+ MB$", record.getMessage())]
    assert [bool(re.search(how, line)) for how, line in zip(("loaded", "unloaded"), lines, strict=True)] == [True, True]
