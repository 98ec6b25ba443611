"""Fused query, key and value, channels-last VAEs, and attention kernels by name."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry

from app.core.acceleration import ATTENTION_NAMES
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.load import attention
from tests.engines.diffusers.generate.control import Recorder

ROUNDING = 2  # of 255


@pytest.fixture
def draw(lora_engine, ask):
    return lambda spec, **asked: lora_engine.generate(spec, ask(**asked), Recorder()).images[0].pixels


def distance(one, other):
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize("family", ["flux", "sd35", "sdxl", "sd15", "flux2-klein", "qwen-image"])
def test_fused_weights_draw_the_same_but_for_rounding(built, spec_of, draw, lora_engine, family, caplog):
    folder = built(family)
    plain = draw(spec_of(folder))
    spec = spec_of(folder, fuse_qkv=True)
    made = draw(spec)
    assert distance(made, plain) <= ROUNDING
    fused = lora_engine._model_cache.get(spec).acceleration.fused
    # diffusers' fused attention of the others leaves the normalisation of query and key out
    assert fused is (family not in ("sd35", "qwen-image"))
    assert fused or "fuse_qkv is left out" in caplog.text


def test_a_lora_changes_a_model_with_fused_weights(draw, spec_of):
    """The fused weights are not those that a LoRA is for: it would change nothing of attention."""
    style, spec = [{"id": "style"}], spec_of("flux", fuse_qkv=True)
    base, styled = draw(spec_of("flux")), draw(spec_of("flux"), loras=style)
    fused = draw(spec)
    assert np.array_equal(draw(spec, loras=style), styled)
    assert not np.array_equal(base, styled)
    assert np.array_equal(draw(spec), fused)


@pytest.mark.parametrize("family", ["sdxl", "sd15"])
def test_the_separate_weights_are_used_within_the_block_only(spec_of, lora_engine, family):
    from app.engines.diffusers.speed.layout import separate

    spec = spec_of(family, fuse_qkv=True)
    lora_engine.load(spec, Recorder())
    model = lora_engine._model_cache.get(spec)
    denoisers, names = model.acceleration.denoisers, lambda: {type(p).__name__ for p in processors(model)}
    fused = names()
    with separate(denoisers, True):
        assert not any(name.startswith("Fused") for name in names())
    assert names() == fused
    assert any(name.startswith("Fused") for name in fused)


def processors(model):
    return model.acceleration.denoisers[0].attn_processors.values()


def test_a_channels_last_vae_draws_the_same_but_for_rounding_and_is_not_shared(settings, spec_of, ask):
    engine = DiffusersEngine(settings)
    plain, spec = spec_of("flux"), spec_of("flux", vae_channels_last=True).model_copy(update={"id": "flux-last"})
    before = engine.generate(plain, ask(), Recorder()).images[0].pixels
    made = engine.generate(spec, ask(), Recorder()).images[0].pixels
    assert distance(made, before) <= ROUNDING
    vaes = [engine._model_cache.get(each).pipeline.vae for each in (plain, spec)]
    weights = [vae.decoder.conv_in.weight for vae in vaes]
    assert vaes[0] is not vaes[1]
    assert [each.is_contiguous(memory_format=torch.channels_last) for each in weights] == [False, True]
    assert np.array_equal(engine.generate(plain, ask(), Recorder()).images[0].pixels, before)


def test_a_vae_of_videos_keeps_its_layout(built, spec_of, lora_engine, caplog):
    lora_engine.load(spec_of(built("wan"), vae_channels_last=True, media="video"), Recorder())
    assert "vae_channels_last is left out: it is for VAEs of pictures" in caplog.text


def test_settings_hold_for_models_whose_line_says_nothing(settings, spec_of):
    engine = DiffusersEngine(dataclasses.replace(settings, fuse_qkv=True, vae_channels_last=True))
    silent, refusing = spec_of("flux"), spec_of("sd15", fuse_qkv=False, vae_channels_last=False)
    for spec in (silent, refusing):
        engine.load(spec, Recorder())
    described = [engine._model_cache.get(spec).acceleration.description for spec in (silent, refusing)]
    assert described == ["fused QKV, VAE channels-last", ""]


def test_the_names_of_kernels_are_those_of_diffusers():
    assert set(ATTENTION_NAMES) == {name.value for name in AttentionBackendName} | {"auto"}


def test_kernels_by_name_are_used_and_the_default_of_the_process_stays(draw, spec_of, lora_engine):
    before = _AttentionBackendRegistry.get_active_backend()
    plain = draw(spec_of("flux"))
    spec = spec_of("flux", attention="_native_math")
    made = draw(spec)
    model = lora_engine._model_cache.get(spec)
    assert model.attention == "_native_math"
    assert {processor._attention_backend for processor in processors(model)} == {AttentionBackendName("_native_math")}
    assert distance(made, plain) <= ROUNDING
    assert _AttentionBackendRegistry.get_active_backend() == before


@pytest.mark.parametrize(
    ("family", "kernels", "sentence"),
    [
        ("flux", "sage", "The attention kernels sage do not work here"),
        ("sd35", "_native_math", "StableDiffusion3Pipeline does not choose its kernels by name"),
    ],
)
def test_kernels_that_do_not_work_are_said_and_native_is_used(
    draw, spec_of, lora_engine, caplog, family, kernels, sentence
):
    attention.warn_once.cache_clear()
    spec = spec_of(family, attention=kernels)
    plain = draw(spec_of(family))
    assert np.array_equal(draw(spec), plain)
    assert lora_engine._model_cache.get(spec).attention == "native"
    assert sentence in caplog.text
