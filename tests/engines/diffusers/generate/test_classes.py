"""Pipeline classes with required or optional input images: each runs its own tasks, at the requested size."""

from __future__ import annotations

import json

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from app.engines.diffusers.generate import preview
from app.errors import UnsupportedTask
from tests.engines.diffusers.generate.control import Recorder
from tests.engines.diffusers.generate.test_start_from_pictures import a_mask, a_picture

SIZE = {"height": 64, "width": 96}
DOES = {
    "sd15-inpainting": ("StableDiffusionInpaintPipeline", ("inpaint",)),
    "sdxl-refiner": ("StableDiffusionXLImg2ImgPipeline", ("img2img",)),
    "flux-fill": ("FluxFillPipeline", ("inpaint",)),
    "flux-kontext": ("FluxKontextPipeline", ("txt2img", "img2img", "inpaint")),
    "instruct-pix2pix": ("StableDiffusionInstructPix2PixPipeline", ("img2img",)),
}
TASKS = ("txt2img", "img2img", "inpaint")
STRENGTH = {"img2img": 0.75, "inpaint": 1.0}  # the default that is stored


@pytest.fixture
def draw(engine, spec_of, ask):
    def run(family, task, control=None, **changes):
        inputs = {} if task == "txt2img" else {"image": a_picture(**SIZE)}
        inputs |= {"mask": a_mask(**SIZE)} if task == "inpaint" else {}
        request = ask(**{"task": task, "strength": STRENGTH.get(task), "num_inference_steps": 4, **SIZE, **changes})
        return engine.generate(spec_of(family), request, control or Recorder(), inputs)

    return run


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", DOES)
def test_it_does_what_its_class_does_at_the_size_asked_for(draw, family, task):
    name, does = DOES[family]
    if task not in does:
        wanted = {"sd15-inpainting": "send an image and a mask", "flux-fill": "send an image and a mask"}
        with pytest.raises(UnsupportedTask, match=rf"\({name}\) cannot do {task}: .*{wanted.get(family, 'an image')}"):
            draw(family, task)
        return
    control = Recorder()
    made = draw(family, task, control)
    assert made.images[0].pixels.shape == (64, 96, 3)
    assert made.images[0].pixels.std() > 5
    assert made.warnings == ()
    assert (made.effective["width"], made.effective["height"]) == (96, 64)
    assert control.last_step() == made.effective["steps_run"]
    if task == "inpaint":
        assert np.array_equal(made.images[0].pixels[:, :48], a_picture(**SIZE)[:, :48])


@pytest.mark.parametrize(("family", "task"), [(f, t) for f, (_, does) in DOES.items() for t in does if t != "inpaint"])
def test_it_equals_a_plain_script(tiny, draw, family, task):
    pipe = getattr(diffusers, DOES[family][0]).from_pretrained(tiny / family)
    pipe.set_progress_bar_config(disable=True)
    more = {} if task == "txt2img" else {"image": Image.fromarray(a_picture(**SIZE))}
    if family == "sdxl-refiner":
        more["strength"] = 0.75
    if family == "flux-kontext":
        more |= {**SIZE, "max_area": 64 * 96}
    generator = torch.Generator("cpu").manual_seed(7)
    more |= {"prompt": "a red cat under a tree", "num_inference_steps": 4}
    wanted = pipe(**more, generator=generator, output_type="np").images[0]
    assert np.array_equal(draw(family, task).images[0].pixels, (wanted * 255).round().astype(np.uint8))


def test_a_picture_is_seen_by_those_that_may_have_one(draw):
    assert not np.array_equal(
        draw("flux-kontext", "img2img").images[0].pixels, draw("flux-kontext", "txt2img").images[0].pixels
    )


def test_an_unsupported_strength_of_an_edit_model_is_a_warning(draw):
    assert draw("instruct-pix2pix", "img2img", strength=0.4).warnings == ("m takes no strength; it was not used.",)


def test_another_size_than_requested_is_a_warning(engine, spec_of, ask, monkeypatch):
    real = diffusers.FluxPipeline.__call__

    def stubborn(self, *args, width=None, height=None, **kwargs):
        return real(self, *args, width=64, height=64, **kwargs)

    stubborn.__signature__ = __import__("inspect").signature(real)
    monkeypatch.setattr(diffusers.FluxPipeline, "__call__", stubborn)
    made = engine.generate(spec_of("flux"), ask(**SIZE), Recorder())
    assert made.warnings == ("m drew 64 × 64, not the requested 96 × 64.",)
    assert (made.effective["width"], made.effective["height"]) == (64, 64)


def test_an_unknown_class_supports_the_tasks_of_its_call(engine, spec_of, ask, copy_of, monkeypatch):
    class FancyNewPipeline(diffusers.FluxFillPipeline):
        pass

    monkeypatch.setattr(diffusers, "FancyNewPipeline", FancyNewPipeline, raising=False)
    folder = copy_of("flux-fill")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "FancyNewPipeline"}))
    request = ask(task="inpaint", strength=1.0, **SIZE)
    inputs = {"image": a_picture(**SIZE), "mask": a_mask(**SIZE)}
    assert engine.generate(spec_of(folder), request, Recorder(), inputs).images[0].pixels.shape == (64, 96, 3)
    with pytest.raises(UnsupportedTask, match=r"FancyNewPipeline.* cannot do txt2img: .*send an image and a mask"):
        engine.generate(spec_of(folder), ask(), Recorder())


@pytest.mark.parametrize("family", DOES)
def test_previews_on_every_step_do_no_harm(draw, family, monkeypatch):
    task = DOES[family][1][-1]
    plain = draw(family, task).images[0].pixels
    for name in ("FIRST_AFTER_SECONDS", "SHOWN_AT_LEAST_SECONDS", "PAUSE_SECONDS", "PAUSE_COSTS"):
        monkeypatch.setattr(preview, name, 0.0)
    control = Recorder()
    assert np.array_equal(draw(family, task, control).images[0].pixels, plain)
    assert control.previews


def test_a_preview_that_fails_does_not_fail_the_picture(draw, monkeypatch, caplog):
    plain = draw("flux-kontext", "txt2img").images[0].pixels
    for name in ("FIRST_AFTER_SECONDS", "SHOWN_AT_LEAST_SECONDS", "PAUSE_SECONDS", "PAUSE_COSTS"):
        monkeypatch.setattr(preview, name, 0.0)

    def unfit(*_):
        raise RuntimeError("shape '[1, 8]' is invalid")

    monkeypatch.setattr(preview, "encoded_grid", unfit)
    control = Recorder()
    assert np.array_equal(draw("flux-kontext", "txt2img", control).images[0].pixels, plain)
    assert control.previews == []
    messages = [record.getMessage() for record in caplog.records if "preview" in record.getMessage()]
    assert messages == ["FluxKontextPipeline: no previews, drawing one failed: shape '[1, 8]' is invalid"]
