"""After a cancel, a failure or out of memory, the next job is correct."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from diffusers import AutoencoderDC, AutoencoderKL, FirstBlockCacheConfig, FluxTransformer2DModel

from app.engines.base import PartlyDrawn
from app.errors import Cancelled, LeaseLost, OutOfMemory
from tests.engines.diffusers.generate.control import Recorder


@pytest.fixture
def flux(spec_of):
    return spec_of("flux")


def count_calls(monkeypatch, owner, name):
    """Count the calls of a method; from call `fail_at` on, `failures` of them raise `error(message)`, an object that
    nobody else keeps."""
    real = getattr(owner, name)

    class Calls:
        made = 0
        fail_at = None
        failures = 1
        error = RuntimeError
        message = ""

    def counted(self, *args, **kwargs):
        Calls.made += 1
        if Calls.fail_at is not None and Calls.fail_at <= Calls.made < Calls.fail_at + Calls.failures:
            raise Calls.error(Calls.message)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(owner, name, counted)
    return Calls


def test_a_cancel_stops_at_the_next_step_and_the_next_picture_is_right(engine, flux, ask, monkeypatch):
    wanted = engine.generate(flux, ask(), Recorder()).images[0].pixels
    calls = count_calls(monkeypatch, FluxTransformer2DModel, "forward")
    control = Recorder(cancel_at=2)
    with pytest.raises(Cancelled):
        engine.generate(flux, ask(num_inference_steps=20), control)
    assert control.last_step() == 2
    assert calls.made == 2
    assert np.array_equal(engine.generate(flux, ask(), Recorder()).images[0].pixels, wanted)


def test_a_cancel_between_pictures_makes_no_more_of_them(engine, flux, ask, monkeypatch):
    calls = count_calls(monkeypatch, FluxTransformer2DModel, "forward")
    with pytest.raises(Cancelled):
        engine.generate(flux, ask(num_images=4), Recorder(cancel_at=3))
    assert calls.made == 3


def test_a_cancel_before_the_load_loads_nothing(engine, flux, ask):
    with pytest.raises(Cancelled):
        engine.load(flux, Recorder(cancel_at=0))
    assert engine.resident() == []


def test_an_exception_out_of_a_step_does_not_spoil_a_step_cache(engine, flux, ask):
    """First-block cache keeps what the last step saw; after a call that broke off it would draw from that."""

    class Broken(Recorder):
        def cancelled(self):
            if self.last_step() == 2:
                raise LeaseLost
            return False

    engine.load(flux, Recorder())
    transformer = engine._model_cache.get(flux).pipeline.transformer
    transformer.enable_cache(FirstBlockCacheConfig(threshold=10.0))
    wanted = engine.generate(flux, ask(), Recorder()).images[0].pixels
    with pytest.raises(LeaseLost):
        engine.generate(flux, ask(prompt="something else", seed=99), Broken())
    assert np.array_equal(engine.generate(flux, ask(), Recorder()).images[0].pixels, wanted)


@pytest.mark.parametrize("part", [FluxTransformer2DModel, AutoencoderKL])
def test_out_of_memory_fails_the_job_and_frees_the_model(engine, flux, ask, monkeypatch, part):
    wanted = engine.generate(flux, ask(), Recorder()).images[0].pixels
    pipeline = weakref.ref(engine._model_cache.get(flux).pipeline)
    calls = count_calls(monkeypatch, part, "forward" if part is FluxTransformer2DModel else "decode")
    calls.fail_at, calls.error, calls.message = 1, torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate"
    calls.failures = 1 if part is FluxTransformer2DModel else 2  # the VAE is run again in tiles
    with pytest.raises(OutOfMemory, match="smaller image") as failure:
        engine.generate(flux, ask(), Recorder())
    assert failure.value.code == "out_of_memory"
    gc.collect()
    assert pipeline() is None, "something of the failed attempt is still alive"
    assert engine.resident() == []
    assert np.array_equal(engine.generate(flux, ask(), Recorder()).images[0].pixels, wanted)


def test_out_of_memory_unloads_the_other_models_and_tries_again(engine, flux, ask, spec_of, monkeypatch):
    engine.load(spec_of("sd15"), Recorder())
    engine.load(flux, Recorder())
    calls = count_calls(monkeypatch, FluxTransformer2DModel, "forward")
    calls.fail_at, calls.message = 2, "DefaultCPUAllocator: can't allocate memory: you tried to allocate"
    made = engine.generate(flux, ask(), Recorder())
    assert [model.model_id for model in engine.resident()] == ["flux"]
    assert made.images[0].pixels.std() > 5


def test_out_of_memory_alone_is_tried_again_with_a_smaller_plan(engine, flux, ask, monkeypatch):
    wanted = engine.generate(flux, ask(), Recorder()).images[0].pixels
    calls = count_calls(monkeypatch, AutoencoderKL, "decode")
    calls.fail_at, calls.error, calls.message = 1, torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate"
    made = engine.generate(flux, ask(), Recorder())
    assert any("in tiles" in warning for warning in made.warnings)
    assert np.array_equal(made.images[0].pixels, wanted)  # smaller than a tile
    assert engine.generate(flux, ask(), Recorder()).warnings == made.warnings


def test_sana_making_a_warning_of_it_is_still_out_of_memory(engine, spec_of, ask, monkeypatch):
    calls = count_calls(monkeypatch, AutoencoderDC, "decode")
    calls.fail_at, calls.error, calls.message = 1, torch.OutOfMemoryError, "CUDA out of memory"
    calls.failures = 2
    with pytest.warns(UserWarning, match="VAE tiling"), pytest.raises(OutOfMemory):
        engine.generate(spec_of("sana"), ask(), Recorder())


def test_other_runtime_errors_are_not_taken_for_memory(engine, flux, ask, monkeypatch):
    calls = count_calls(monkeypatch, FluxTransformer2DModel, "forward")
    calls.fail_at, calls.message = 1, "shapes do not match"
    with pytest.raises(RuntimeError, match="shapes do not match"):
        engine.generate(flux, ask(), Recorder())


def test_pictures_finished_before_a_stop_are_in_the_error(engine, flux, ask):
    wanted = engine.generate(flux, ask(num_images=3, num_inference_steps=4), Recorder()).images
    with pytest.raises(PartlyDrawn) as stopped:
        engine.generate(flux, ask(num_images=3, num_inference_steps=4), Recorder(cancel_at=10))
    kept = stopped.value.generation.images
    assert [image.seed for image in kept] == [image.seed for image in wanted[:2]]
    assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(kept, wanted, strict=False))
    assert stopped.value.generation.effective["steps_run"] == 4
