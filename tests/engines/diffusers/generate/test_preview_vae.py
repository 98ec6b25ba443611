"""Previews by a small decoder: what it makes of the very latents, never at the cost of a job."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from app.engines.diffusers.generate import preview
from app.engines.diffusers.generate.preview import Previewer
from tests.engines.diffusers.generate.control import Recorder


@pytest.fixture(autouse=True)
def at_every_step(monkeypatch):
    for name in ("FIRST_AFTER_SECONDS", "PAUSE_SECONDS", "PAUSE_COSTS", "SHOWN_AT_LEAST_SECONDS"):
        monkeypatch.setattr(preview, name, 0.0)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Saves an AutoencoderTiny of random numbers for latents of so many channels, one stage for each halving."""

    def make(channels: int, stages: int = 1, **options: float) -> Path:
        torch.manual_seed(9)
        blocks = {"encoder_block_out_channels": (8,) * (stages + 1), "decoder_block_out_channels": (8,) * (stages + 1)}
        depths = {"num_encoder_blocks": (1,) * (stages + 1), "num_decoder_blocks": (1,) * (stages + 1)}
        vae = diffusers.AutoencoderTiny(latent_channels=channels, **blocks, **depths, **options)
        folder = tmp_path_factory.mktemp("taesd")
        vae.save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def latents(monkeypatch):
    """The latents of every preview, as the step left them or as the estimate of the end."""
    seen = []
    drawing = Previewer._decoded

    def remember(self, given):
        seen.append(given.clone())
        return drawing(self, given)

    monkeypatch.setattr(Previewer, "_decoded", remember)
    return seen


def channels_of(folder: Path) -> int:
    found: int = json.loads((folder / "vae" / "config.json").read_text())["latent_channels"]
    return found


def decoded(folder: Path, latents: torch.Tensor) -> np.ndarray:
    vae = diffusers.AutoencoderTiny.from_pretrained(folder).eval()
    scaled = latents / vae.config.scaling_factor + vae.config.shift_factor
    with torch.inference_mode():
        picture = vae.decode(scaled, return_dict=False)[0][0]
    return ((picture.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("options", [{}, {"scaling_factor": 0.5, "shift_factor": 0.25}], ids=["usual", "scaled"])
def test_the_preview_is_what_the_small_decoder_makes_of_the_latents(
    engine, spec_of, ask, tiny, small, latents, options
):
    folder = small(channels_of(tiny / "sd15"), **options)
    control = Recorder()
    engine.generate(spec_of("sd15", preview_vae=str(folder)), ask(num_inference_steps=4), control)
    assert len(control.previews) == len(latents) == 3
    for (_, shown), given in zip(control.previews, latents, strict=True):
        assert np.array_equal(shown, decoded(folder, given))


def test_packed_latents_are_unpacked_for_it(engine, spec_of, ask, tiny, small, latents):
    folder = small(channels_of(tiny / "flux"))
    control = Recorder()
    engine.generate(spec_of("flux", preview_vae=str(folder)), ask(width=96, height=64), control)
    pipeline = engine._resident(spec_of("flux", preview_vae=str(folder))).pipeline
    unpacked = pipeline._unpack_latents(latents[0], 64, 96, pipeline.vae_scale_factor)
    assert np.array_equal(control.previews[0][1], decoded(folder, unpacked))


def test_the_picture_is_the_same(engine, spec_of, ask, tiny, small):
    folder, control = small(channels_of(tiny / "sd15")), Recorder()
    plain = engine.generate(spec_of("sd15"), ask(), Recorder())
    with_it = engine.generate(spec_of("sd15", preview_vae=str(folder)), ask(), control)
    assert control.previews
    assert np.array_equal(plain.images[0].pixels, with_it.images[0].pixels)


def test_large_latents_are_shrunk_to_twice_the_size_that_the_vae_gets(engine, spec_of, ask, tiny, small, monkeypatch):
    monkeypatch.setattr(preview, "SMALL_MOST_LATENTS", {"cpu": 16})
    monkeypatch.setattr(preview, "MOST_LATENTS", {"cpu": 8})
    control = Recorder()
    folder = small(channels_of(tiny / "sd15"))
    engine.generate(spec_of("sd15", preview_vae=str(folder)), ask(width=128, height=64), control)
    assert control.previews[0][1].shape == (16, 32, 3)  # one stage of the decoder doubles the latents


def own_previews(engine, spec_of, ask, family) -> list[np.ndarray]:
    control = Recorder()
    engine.generate(spec_of(family), ask(), control)
    return [pixels for _, pixels in control.previews]


@pytest.mark.parametrize("what", ["missing", "no decoder", "too large", "damaged", "other latents", "repository"])
def test_one_that_cannot_be_used_leaves_previews_to_the_vae(
    engine, spec_of, ask, tiny, small, tmp_path, what, monkeypatch, caplog
):
    monkeypatch.setattr(logging.getLogger("cyberimage"), "propagate", True)
    caplog.set_level("INFO", "cyberimage.models")
    expected = own_previews(engine, spec_of, ask, "sd15")
    folder = small(7 if what == "other latents" else channels_of(tiny / "sd15"))
    if what == "missing":
        folder = tmp_path / "nowhere"
    elif what == "repository":
        folder = Path("owner/taesd")
    elif what == "no decoder":
        folder = tiny / "sd15" / "vae"
    elif what == "too large":
        monkeypatch.setattr("app.engines.diffusers.load.preview_vae._MOST_BYTES", 1000)
    elif what == "damaged":
        (weights,) = folder.glob("*.safetensors")
        weights.write_bytes(weights.read_bytes()[:-100])
    control = Recorder()
    engine.generate(spec_of("sd15", preview_vae=str(folder)), ask(), control)
    assert len(control.previews) == len(expected) > 0
    for (_, shown), usual in zip(control.previews, expected, strict=True):
        assert np.array_equal(shown, usual)
    said = [record.getMessage() for record in caplog.records if "preview_vae" in record.getMessage()]
    assert len(said) == (0 if what == "other latents" else 1)


def test_one_that_fails_is_replaced_by_the_vae(engine, spec_of, ask, tiny, small, monkeypatch):
    expected = own_previews(engine, spec_of, ask, "sd15")
    monkeypatch.setattr(preview, "decode_small", lambda *_: torch.zeros(1).reshape(2, 2))
    control = Recorder()
    folder = small(channels_of(tiny / "sd15"))
    engine.generate(spec_of("sd15", preview_vae=str(folder)), ask(), control)
    assert all(np.array_equal(shown, usual) for (_, shown), usual in zip(control.previews, expected, strict=True))


def test_families_with_normalised_latents_keep_their_own(engine, spec_of, ask, built, small):
    config = json.loads((built("qwen-image") / "vae" / "config.json").read_text())
    folder, spec = small(config["z_dim"]), spec_of(built("qwen-image"))
    expected, control = Recorder(), Recorder()
    engine.generate(spec, ask(), expected)
    options = spec.options.model_copy(update={"preview_vae": str(folder)})
    engine.generate(spec.model_copy(update={"options": options}), ask(), control)
    assert control.previews
    assert all(
        np.array_equal(one, other) for (_, one), (_, other) in zip(control.previews, expected.previews, strict=True)
    )
