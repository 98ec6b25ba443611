"""Previews: every family has them, they approach the result, and they do not change it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.generate import preview
from app.engines.diffusers.generate.preview import Previewer
from tests.engines.diffusers.generate.control import Recorder


@pytest.fixture
def at_every_step(monkeypatch):
    monkeypatch.setattr(preview, "FIRST_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(preview, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(preview, "PAUSE_COSTS", 0.0)
    monkeypatch.setattr(preview, "SHOWN_AT_LEAST_SECONDS", 0.0)


@pytest.mark.parametrize("family", ["flux", "sd35", "sd15", "sdxl", "sana"])
def test_every_family_shows_each_step_but_the_last(engine, spec_of, ask, at_every_step, family):
    control = Recorder()
    engine.generate(spec_of(family), ask(num_inference_steps=4), control)
    assert [step for step, _ in control.previews] == [1, 2, 3]
    for _, pixels in control.previews:
        height, width, channels = pixels.shape
        assert pixels.dtype == np.uint8
        assert channels == 3
        assert height == width


def test_the_picture_is_the_same_with_and_without(settings, spec_of, ask, at_every_step):
    shown, hidden = Recorder(), Recorder()
    with_previews = DiffusersEngine(settings).generate(spec_of("flux"), ask(), shown)
    without = DiffusersEngine(dataclasses.replace(settings, previews=False)).generate(spec_of("flux"), ask(), hidden)
    assert shown.previews
    assert not hidden.previews
    assert np.array_equal(with_previews.images[0].pixels, without.images[0].pixels)


def test_a_wide_picture_has_a_wide_preview(engine, spec_of, ask, at_every_step):
    control = Recorder()
    engine.generate(spec_of("flux"), ask(width=128, height=64), control)
    height, width, _ = control.previews[0][1].shape
    assert width == 2 * height


def test_it_is_too_early_for_a_quick_picture(engine, spec_of, ask, monkeypatch):
    monkeypatch.setattr(preview, "FIRST_AFTER_SECONDS", 1000.0)
    control = Recorder()
    engine.generate(spec_of("flux"), ask(), control)
    assert control.previews == []


def test_the_first_of_a_further_picture_does_not_head_from_the_one_before(engine, spec_of, ask, at_every_step):
    alone, second = Recorder(), Recorder()
    engine.generate(spec_of("sd35"), ask(seed=8), alone)
    engine.generate(spec_of("sd35"), ask(seed=7, num_images=2), second)
    half = len(second.previews) // 2
    for (_, expected), (_, shown) in zip(alone.previews, second.previews[half:], strict=True):
        assert np.array_equal(expected, shown)


def test_it_is_too_late_when_the_picture_is_almost_there(engine, spec_of, ask, at_every_step, monkeypatch):
    monkeypatch.setattr(preview, "SHOWN_AT_LEAST_SECONDS", 1000.0)
    control = Recorder()
    engine.generate(spec_of("flux"), ask(), control)
    assert control.previews == []


def test_on_a_straight_path_the_estimate_is_the_end_of_the_path():
    """x(σ) = x₀ + σ·n is what flow matching learns: from two points of it x₀ follows exactly."""
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(5)
    picture, noise = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    path = [picture + sigma * noise for sigma in scheduler.sigmas]
    previewer = Previewer(SimpleNamespace(scheduler=scheduler), 64, 64)
    previewer._last = path[1]
    assert torch.allclose(previewer._heading(1, path[2]), picture, atol=1e-5)
