"""Repainting a part of a picture: what is outside stays as it is, and what is inside is drawn at full size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from app.config import ROOT
from app.core.builtin_models import BUILTIN_MODEL_LINES
from app.core.catalog_lines import parse_model_line
from app.core.inputs import Extend
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.generate import generate
from app.errors import GenerationError
from app.files.repaint import extended
from tests.engines.diffusers.generate.control import Recorder

SIZE = {"width": 64, "height": 64}


def a_picture(height, width):
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows % 256, columns % 256, (rows + columns) % 256], axis=-1).astype(np.uint8)


def a_mask(height, width):
    mask = np.zeros((height, width), np.uint8)
    mask[40:60, 100:130] = 255
    return mask


@pytest.fixture
def sent(monkeypatch):
    """The picture and mask of every call of a pipeline."""
    seen, drawing = [], generate.draw

    def remember(pipeline, arguments, seeds, watch):
        seen.append((np.asarray(arguments["image"]), np.asarray(arguments["mask_image"])))
        return drawing(pipeline, arguments, seeds, watch)

    monkeypatch.setattr(generate, "draw", remember)
    return seen


@pytest.fixture
def repaint(engine, spec_of, ask):
    def run(picture, mask, family="flux", **settings):
        request = ask(**{"task": "inpaint", "strength": 0.9} | SIZE | settings)
        return engine.generate(spec_of(family), request, Recorder(), {"image": picture, "mask": mask})

    return run


def pixels(made):
    return made.images[0].pixels


@pytest.mark.parametrize("family", ["flux", "sd15", "sd35"])
def test_a_masked_area_is_drawn_at_full_size_and_put_back(repaint, sent, family):
    picture, mask = a_picture(150, 200), a_mask(150, 200)
    made = repaint(picture, mask, family, inpaint_area="masked", inpaint_padding=5, mask_blur=2)
    ((part, _),) = sent
    assert part.shape == (64, 64, 3)
    expected = Image.fromarray(picture[30:70, 95:135]).resize((64, 64), Image.Resampling.LANCZOS)
    assert np.array_equal(part, np.asarray(expected))
    assert pixels(made).shape == picture.shape
    changed = (pixels(made) != picture).any(axis=2)
    assert changed[42:58, 102:128].mean() > 0.9
    assert not changed[:30].any()
    assert not changed[:, :90].any()
    assert not changed[60 + 8 :].any()  # beyond the blurred edge
    assert made.effective["width"] == 200
    assert made.warnings == ()


def test_a_blurred_mask_blends_its_edge(repaint):
    picture, mask = np.full((64, 64, 3), 120, np.uint8), np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    hard, soft = (pixels(repaint(picture, mask, mask_blur=blur)).astype(int) for blur in (0, 6))
    assert np.array_equal(hard[:, :32], picture[:, :32])
    assert np.array_equal(soft[:, :8], picture[:, :8])
    step = [np.abs(np.diff(made, axis=1)).mean(axis=(0, 2))[31] for made in (hard, soft)]
    assert step[1] < step[0] / 2


def test_an_inverted_mask_paints_the_other_part(repaint):
    picture, mask = a_picture(64, 64), np.zeros((64, 64), np.uint8)
    mask[:, :20] = 255
    other = pixels(repaint(picture, 255 - mask))
    assert np.array_equal(pixels(repaint(picture, mask, mask_invert=True)), other)
    assert np.array_equal(other[:, :20], picture[:, :20])


def test_a_fill_is_what_the_masked_part_starts_from(repaint, sent):
    picture, mask = a_picture(64, 64), np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    made = [
        pixels(repaint(picture, mask, "sd15", inpaint_fill=fill, strength=0.5))
        for fill in ("original", "blur", "noise")
    ]
    starts = [start for start, _ in sent]
    assert np.array_equal(starts[0], picture)
    assert not any(np.array_equal(start, picture) for start in starts[1:])
    assert not np.array_equal(made[0], made[1])
    assert not np.array_equal(made[1], made[2])
    for each in made:
        assert np.array_equal(each[mask == 0], picture[mask == 0])


def test_a_mask_that_paints_nothing_of_an_area_is_refused(repaint):
    with pytest.raises(GenerationError, match="no part of it is white"):
        repaint(a_picture(64, 64), np.zeros((64, 64), np.uint8), inpaint_area="masked")


def test_the_edge_of_an_extension_is_no_sharper_than_the_picture(ask):
    """With the built-in model, which draws landscapes: its own picture, continued to the right."""
    engine = DiffusersEngine(EngineSettings(root=ROOT, model_cache_dir=ROOT / "models"))
    spec = parse_model_line(BUILTIN_MODEL_LINES["MODEL_01"])
    words = {"prompt": "a beautiful sunset over mountains", "num_inference_steps": 8, "guidance_scale": 2.5}
    own = pixels(engine.generate(spec, ask(**words, width=256, height=256), Recorder()))
    larger, mask = extended(own, Extend(right=128), 7)
    request = ask(**words, width=384, height=256, task="inpaint", strength=0.95)
    made = pixels(engine.generate(spec, request, Recorder(), {"image": larger, "mask": mask}))
    assert np.array_equal(made[:, :240], own[:, :240])
    steps = np.abs(np.diff(made.astype(int), axis=1)).mean(axis=(0, 2))  # from column to column
    assert steps[238:260].max() <= steps[:238].max()
    assert made[:, 260:].std() > 10
