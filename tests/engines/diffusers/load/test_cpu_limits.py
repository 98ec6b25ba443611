"""Models that a CPU would run for hours are refused where the CPU was not asked for, before and after a download."""

from __future__ import annotations

import dataclasses

import pytest

from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.load import cpu_limits
from app.engines.diffusers.load.cpu_limits import require_runnable_download
from app.errors import GpuRequired
from tests.engines.diffusers.generate.control import Recorder


@pytest.fixture
def refusing(settings, monkeypatch):
    monkeypatch.setattr(cpu_limits, "MOST_WEIGHTS_ON_CPU", 1000)
    return dataclasses.replace(settings, device="cpu", large_models=False, no_gpu_reason="The driver is too old.")


def test_a_large_model_is_refused_with_the_reason_and_what_to_do(refusing, spec_of, ask) -> None:
    engine = DiffusersEngine(refusing)
    with pytest.raises(GpuRequired, match=r"billion weights.*The driver is too old\..*DEVICE=cpu") as failure:
        engine.generate(spec_of("sd15"), ask(), Recorder())
    assert failure.value.code == "gpu_required"
    assert engine.resident() == []


def test_it_is_run_where_the_cpu_was_asked_for(refusing, spec_of, ask) -> None:
    engine = DiffusersEngine(dataclasses.replace(refusing, large_models=True))
    assert len(engine.generate(spec_of("sd15"), ask(), Recorder()).images) == 1


def test_small_models_run_anyway(settings, spec_of, ask) -> None:
    engine = DiffusersEngine(dataclasses.replace(settings, device="cpu", large_models=False))
    assert len(engine.generate(spec_of("sd15"), ask(), Recorder()).images) == 1


def test_it_is_refused_before_gigabytes_are_downloaded(refusing) -> None:
    require_runnable_download("a/b", 4000, refusing)
    with pytest.raises(GpuRequired, match=r"a/b has .* GB of weights"):
        require_runnable_download("a/b", 4001, refusing)
