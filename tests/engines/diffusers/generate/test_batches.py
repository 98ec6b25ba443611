"""Several images in one call: each depends on its own seed only, but for rounding, and progress counts all."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from app.core.job import Phase
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.generate import generate
from app.errors import Cancelled
from tests.engines.diffusers.generate.control import Recorder

FAMILIES = ("flux", "sd35", "sdxl", "sd15", "sana")
TOLERANCE = 1e-5  # of 0 to 1; 3e-6 and less were seen


@pytest.fixture
def four_at_once(settings):
    return DiffusersEngine(dataclasses.replace(settings, images_per_batch=4))


@pytest.mark.parametrize("family", FAMILIES)
def test_each_is_that_of_its_seed_alone(engine, four_at_once, spec_of, ask, calls, family):
    made = four_at_once.generate(spec_of(family), ask(num_images=6, seed=40, guidance_scale=4.0), Recorder())
    assert [seeds for seeds, _ in calls] == [[40, 41, 42, 43], [44, 45]]
    assert [image.seed for image in made.images] == list(range(40, 46))
    assert made.effective["drawn_together"] == 4
    batched = [picture for _, pictures in calls for picture in pictures]
    calls.clear()
    engine.generate(spec_of(family), ask(num_images=6, seed=40, guidance_scale=4.0), Recorder())
    for picture, (_, alone) in zip(batched, calls, strict=True):
        assert np.abs(picture - alone[0]).max() <= TOLERANCE


def test_one_alone_is_the_same_to_the_last_bit(engine, four_at_once, spec_of, ask):
    for each in (engine, four_at_once):
        made = each.generate(spec_of("sd15"), ask(), Recorder())
        assert "drawn_together" not in made.effective
    assert np.array_equal(made.images[0].pixels, engine.generate(spec_of("sd15"), ask(), Recorder()).images[0].pixels)


def test_steps_are_counted_over_all_pictures(four_at_once, spec_of, ask):
    control = Recorder()
    four_at_once.generate(spec_of("flux"), ask(num_images=5), control)
    drawn = [report[1:] for report in control.reports if report[0] is Phase.GENERATING and report[1]]
    assert drawn == [(4, 15), (8, 15), (12, 15), (12, 15), (13, 15), (14, 15), (15, 15)]


def test_a_cancel_stops_all_of_them(four_at_once, spec_of, ask):
    control = Recorder(cancel_at=4)
    with pytest.raises(Cancelled):
        four_at_once.generate(spec_of("flux"), ask(num_images=4), control)
    assert control.last_step() == 4


def test_starts_from_a_picture_are_drawn_one_by_one(four_at_once, spec_of, ask, calls):
    """Together they would share one random encoding of it, and not be those of their seeds."""
    request = ask(num_images=2, task="img2img", strength=0.5, num_inference_steps=4)
    four_at_once.generate(spec_of("sd15"), request, Recorder(), {"image": np.zeros((64, 64, 3), np.uint8)})
    assert [seeds for seeds, _ in calls] == [[7], [8]]


def test_a_step_cache_draws_one_by_one(four_at_once, spec_of, ask, calls):
    from diffusers import FirstBlockCacheConfig

    four_at_once.load(spec_of("flux"), Recorder())
    four_at_once._model_cache.get(spec_of("flux")).pipeline.transformer.enable_cache(
        FirstBlockCacheConfig(threshold=0.1)
    )
    four_at_once.generate(spec_of("flux"), ask(num_images=2), Recorder())
    assert [seeds for seeds, _ in calls] == [[7], [8]]


def test_without_memory_for_several_they_come_one_by_one(four_at_once, spec_of, ask, monkeypatch):
    drawing, asked = generate.draw, []

    def short_of_memory(pipeline, arguments, seeds, watch):
        asked.append(len(seeds))
        if len(seeds) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return drawing(pipeline, arguments, seeds, watch)

    monkeypatch.setattr(generate, "draw", short_of_memory)
    made = four_at_once.generate(spec_of("sd15"), ask(num_images=3), Recorder())
    assert [image.seed for image in made.images] == [7, 8, 9]
    assert made.warnings[-1] == "Memory ran short, so sd15 draws one picture at a time."
    again = four_at_once.generate(spec_of("sd15"), ask(num_images=3), Recorder())
    assert asked == [3, 1, 1, 1, 1, 1, 1]  # it is not tried again
    assert again.warnings == made.warnings
    assert four_at_once.generate(spec_of("sd15"), ask(), Recorder()).warnings == ()  # one alone is what it was
