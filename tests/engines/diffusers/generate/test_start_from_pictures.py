"""img2img and inpainting: equal to diffusers' own pipelines, over the weights that are loaded already."""

from __future__ import annotations

import gc
import inspect
import weakref

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from app.core.job import Phase
from app.engines.diffusers.generate import preview
from app.engines.diffusers.memory.memory import part_bytes
from app.errors import Cancelled, UnsupportedTask
from tests.engines.diffusers.generate.control import Recorder

FAMILIES = {
    "flux": ("FluxImg2ImgPipeline", "FluxInpaintPipeline"),
    "sd35": ("StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline"),
    "sd15": ("StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"),
    "sdxl": ("StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"),
}
LCM = "LatentConsistencyModelImg2ImgPipeline"  # there is none that inpaints
CASES = [(family, task) for family in FAMILIES for task in ("img2img", "inpaint")] + [("lcm", "img2img")]


def a_picture(height=64, width=64) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 2 % 256, columns * 3 % 256, (rows + columns) % 256], axis=-1).astype(np.uint8)


def a_mask(height=64, width=64) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 255
    return mask


def inputs_of(task, **size):
    image = {"image": a_picture(**size)}
    return image | {"mask": a_mask(**size)} if task == "inpaint" else image


@pytest.fixture
def start(engine, spec_of, ask):
    """Draw from the input image; returns the generation."""

    def run(family, task="img2img", control=None, strength=0.5, steps=6, **changes):
        request = ask(task=task, strength=strength, num_inference_steps=steps, guidance_scale=4.0, **changes)
        return engine.generate(spec_of(family), request, control or Recorder(), inputs_of(task))

    return run


@pytest.mark.parametrize(("family", "task"), CASES)
def test_it_equals_a_plain_script(tiny, start, family, task):
    class_name = LCM if family == "lcm" else FAMILIES[family][task == "inpaint"]
    pipe = getattr(diffusers, class_name).from_pretrained(tiny / family, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    more = {"mask_image": Image.fromarray(a_mask())} if task == "inpaint" else {}
    if "width" in inspect.signature(pipe.__call__).parameters:
        more |= {"width": 64, "height": 64}
    wanted = pipe(
        "a red cat under a tree",
        image=Image.fromarray(a_picture()),
        strength=0.5,
        num_inference_steps=6,
        guidance_scale=4.0,
        generator=torch.Generator("cpu").manual_seed(7),
        output_type="np",
        **more,
    ).images[0]
    made = start(family, task)
    pixels = made.images[0].pixels
    new = a_mask() == 255 if task == "inpaint" else np.full((64, 64), True)
    assert np.array_equal(pixels[new], (wanted * 255).round().astype(np.uint8)[new])
    assert np.array_equal(pixels[~new], a_picture()[~new])
    assert made.versions["pipeline"] == class_name
    # A consistency model spreads its few steps over what is left; all others skip the first ones.
    assert (made.effective["strength"], made.effective["steps_run"]) == (0.5, 6 if family == "lcm" else 3)
    assert made.effective["num_inference_steps"] == 6
    assert made.warnings == ()


@pytest.mark.parametrize("family", FAMILIES)
def test_drawing_from_words_is_the_same_before_and_after(engine, spec_of, ask, start, family):
    before = engine.generate(spec_of(family), ask(), Recorder()).images[0].pixels
    for task in ("img2img", "inpaint"):
        start(family, task)
    assert np.array_equal(engine.generate(spec_of(family), ask(), Recorder()).images[0].pixels, before)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_steps_that_happen_are_the_steps_that_are_reported(start, family):
    for strength, steps, run in ((1.0, 4, 4), (0.5, 4, 2), (0.25, 4, 1), (0.5, 2, 1)):
        for task in ("img2img", "inpaint"):
            control = Recorder()
            made = start(family, task, control, strength=strength, steps=steps)
            drawn = [report[1:] for report in control.reports if report[0] is Phase.GENERATING and report[1]]
            assert drawn == [(step + 1, run) for step in range(run)]
            assert made.effective["steps_run"] == run


def test_strength_says_how_far_the_picture_is_left(start):
    """Tiny weights draw noise: the more of it, the further from the start."""
    distances = [
        np.abs(start("sd15", strength=strength, steps=20).images[0].pixels.astype(int) - a_picture()).mean()
        for strength in (0.05, 1.0)
    ]
    assert distances[0] < distances[1]


def test_another_picture_gives_another_picture(engine, spec_of, ask, start):
    made = start("flux").images[0].pixels
    request = ask(task="img2img", strength=0.5, num_inference_steps=6, guidance_scale=4.0)
    other = engine.generate(spec_of("flux"), request, Recorder(), {"image": a_picture()[::-1].copy()})
    assert not np.array_equal(other.images[0].pixels, made)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_second_copy_in_memory_and_gone_with_the_model(engine, spec_of, start, family):
    start(family, "img2img")
    start(family, "inpaint")
    model = engine._model_cache.get(spec_of(family))
    own = model.pipeline.components
    assert set(model.task_pipelines) == {"img2img", "inpaint"}
    for sibling in model.task_pipelines.values():
        weights = {name: part for name, part in sibling.components.items() if isinstance(part, torch.nn.Module)}
        assert weights
        assert all(part is own[name] for name, part in weights.items())
        assert sum(part_bytes(sibling).values()) == sum(part_bytes(model.pipeline).values())
    watched = [weakref.ref(part) for part in (*model.task_pipelines.values(), *weights.values())]
    del model, own, sibling, weights
    engine.unload(family)
    gc.collect()
    assert [ref() for ref in watched] == [None] * len(watched)


def test_several_pictures_of_a_size_that_is_no_square(engine, spec_of, ask):
    control = Recorder()
    request = ask(task="inpaint", strength=0.5, num_inference_steps=4, width=96, height=64, num_images=2)
    inputs = inputs_of("inpaint", height=64, width=96)
    made = engine.generate(spec_of("sdxl"), request, control, inputs)
    assert [image.pixels.shape for image in made.images] == [(64, 96, 3)] * 2
    assert [image.seed for image in made.images] == [7, 8]
    assert control.last_step() == 4
    assert not np.array_equal(made.images[0].pixels, made.images[1].pixels)


def test_grey_parts_of_a_mask_blend(engine, spec_of, ask):
    request = ask(task="inpaint", strength=1.0, num_inference_steps=2)
    inputs = inputs_of("inpaint")
    whole = engine.generate(spec_of("sd15"), request, Recorder(), inputs | {"mask": np.full((64, 64), 255, np.uint8)})
    half = engine.generate(spec_of("sd15"), request, Recorder(), inputs | {"mask": np.full((64, 64), 153, np.uint8)})
    blended = whole.images[0].pixels * 0.6 + a_picture() * 0.4
    assert np.abs(half.images[0].pixels - blended).max() <= 0.6


def test_previews_and_cancel_work(start, monkeypatch):
    monkeypatch.setattr(preview, "FIRST_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(preview, "SHOWN_AT_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(preview, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(preview, "PAUSE_COSTS", 0.0)
    control = Recorder()
    start("flux", control=control, strength=1.0)
    assert [step for step, _ in control.previews] == [1, 2, 3, 4, 5]
    control = Recorder(cancel_at=2)
    with pytest.raises(Cancelled):
        start("flux", control=control, strength=1.0)
    assert control.last_step() == 2


def test_a_family_without_such_a_pipeline_is_refused(start):
    for task in ("img2img", "inpaint"):
        with pytest.raises(UnsupportedTask, match=rf"sana \(SanaPipeline\) cannot do {task}: choose another"):
            start("sana", task)
