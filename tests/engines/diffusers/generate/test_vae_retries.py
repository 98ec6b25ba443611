"""A VAE that runs out of memory or overflows runs again by itself: the steps are not repeated."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from diffusers import AutoencoderDC, AutoencoderKL, FluxTransformer2DModel, SanaTransformer2DModel

from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.generate.vae_retries import vae_retries
from tests.engines.diffusers.generate.control import Recorder
from tests.engines.diffusers.generate.test_interruptions import count_calls

STEPS = 3
PICTURE = np.full((64, 64, 3), 90, np.uint8)


def short(monkeypatch, kind, method="decode", failures=1):
    calls = count_calls(monkeypatch, kind, method)
    calls.fail_at, calls.failures = 1, failures
    calls.error, calls.message = torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate"
    return calls


@pytest.mark.parametrize(
    ("family", "denoiser", "vae"),
    [("flux", FluxTransformer2DModel, AutoencoderKL), ("sana", SanaTransformer2DModel, AutoencoderDC)],
)
def test_out_of_memory_in_the_decoder_repeats_no_step(engine, spec_of, ask, monkeypatch, family, denoiser, vae):
    plain = engine.generate(spec_of(family), ask(), Recorder())
    short(monkeypatch, vae)
    steps = count_calls(monkeypatch, denoiser, "forward")
    made = engine.generate(spec_of(family), ask(), Recorder())
    assert steps.made == STEPS
    assert np.array_equal(made.images[0].pixels, plain.images[0].pixels)  # smaller than a tile
    warning = f"Memory ran short, so {family} decodes pictures of this size in tiles."
    assert (plain.warnings, made.warnings) == ((), (warning,))
    assert not engine._model_cache.get(spec_of(family)).pipeline.vae.use_tiling


def test_it_is_the_picture_that_tiles_make(engine, settings, spec_of, ask, monkeypatch):
    """With tiles of 32 pixels. How near that is to the whole picture is tested with larger ones in test_tiles."""
    spec = spec_of("flux")
    tiled = DiffusersEngine(dataclasses.replace(settings, vae_tiling=True))
    for each in (engine, tiled):
        each.load(spec, Recorder())
        vae = each._model_cache.get(spec).pipeline.vae
        vae.tile_sample_min_size, vae.tile_latent_min_size = 32, 4
    wanted = tiled.generate(spec, ask(), Recorder()).images[0].pixels
    assert not np.array_equal(engine.generate(spec, ask(), Recorder()).images[0].pixels, wanted)
    short(monkeypatch, AutoencoderKL)
    assert np.array_equal(engine.generate(spec, ask(), Recorder()).images[0].pixels, wanted)


def test_later_pictures_of_the_size_begin_in_tiles_and_smaller_ones_do_not(engine, spec_of, ask, monkeypatch):
    used, real = [], AutoencoderKL.decode

    def decode(self, *arguments, **options):
        used.append(self.use_tiling)
        if len(used) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, *arguments, **options)

    monkeypatch.setattr(AutoencoderKL, "decode", decode)
    spec = spec_of("flux")
    for size in (64, 64, 128, 32):
        engine.generate(spec, ask(width=size, height=size), Recorder())
    assert used == [False, True, True, True, False]
    (merged,) = engine.generate_merged(spec, [ask()], [Recorder()])
    assert used[5:] == [True]
    assert "in tiles" in merged.warnings[0]


def test_out_of_memory_in_the_encoder_repeats_nothing_else(engine, spec_of, ask, monkeypatch):
    request = ask(task="img2img", strength=1.0)
    plain = engine.generate(spec_of("flux"), request, Recorder(), {"image": PICTURE})
    short(monkeypatch, AutoencoderKL, "encode")
    steps = count_calls(monkeypatch, FluxTransformer2DModel, "forward")
    made = engine.generate(spec_of("flux"), request, Recorder(), {"image": PICTURE})
    assert steps.made == STEPS
    assert np.array_equal(made.images[0].pixels, plain.images[0].pixels)


@pytest.fixture
def overflowing(monkeypatch):
    """A decoder that overflows in all precisions but float32."""
    real = AutoencoderKL.decode

    def decode(self, latents, *arguments, **options):
        (made,) = real(self, latents, *arguments, **options | {"return_dict": False})
        return (made if self.dtype is torch.float32 else made * float("inf"),)

    monkeypatch.setattr(AutoencoderKL, "decode", decode)


def test_a_vae_that_overflows_decodes_in_float32(engine, spec_of, ask, overflowing, monkeypatch):
    """On a CPU, bfloat16 stands for a GPU's narrow precisions. The denoiser stays in its own."""
    spec = spec_of("flux", dtype="bfloat16")
    steps = count_calls(monkeypatch, FluxTransformer2DModel, "forward")
    for _ in range(2):
        made = engine.generate(spec, ask(), Recorder())
        assert (made.versions["dtype"], made.images[0].pixels.std() > 5) == ("bfloat16", True)
        assert made.warnings == ("The VAE of flux overflows in bfloat16; it used float32.",)
    assert steps.made == 2 * STEPS
    assert engine._model_cache.get(spec).pipeline.vae.dtype is torch.bfloat16


def test_widened_weights_are_the_same_tensors_afterwards(tiny, overflowing):
    class Pipeline:
        vae = AutoencoderKL.from_pretrained(tiny / "flux" / "vae", torch_dtype=torch.bfloat16)

    before = {name: tensor.data_ptr() for name, tensor in Pipeline.vae.state_dict().items()}
    latents = torch.zeros(1, Pipeline.vae.config.latent_channels, 4, 4, dtype=torch.bfloat16)
    with torch.inference_mode():
        for widens in (True, False):
            with vae_retries(Pipeline, widens=widens) as retries:
                made = Pipeline.vae.decode(latents, return_dict=False)[0]
            assert (retries.widened, bool(torch.isfinite(made).all())) == (widens, widens)
        with vae_retries(Pipeline, widens=True) as retries:
            Pipeline.vae.decode(latents * float("nan"), return_dict=False)
    assert not retries.widened, "the VAE is not at fault"
    assert {name: tensor.data_ptr() for name, tensor in Pipeline.vae.state_dict().items()} == before
    assert "decode" not in vars(Pipeline.vae)
