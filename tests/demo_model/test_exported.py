"""The committed models draw what the prompt says, through plain diffusers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from app.core.catalog_lines import build_catalog
from tests.torch_threads import TORCH_THREADS
from tools.demo_model.evaluate import Painter, background_color
from tools.demo_model.palette import COLORS

BUILTIN = Path(__file__).parents[2] / "builtin"


@pytest.fixture(scope="module", params=["demo", "demo-sd3"])
def painter(request: pytest.FixtureRequest) -> Painter:
    torch.set_num_threads(TORCH_THREADS)
    return Painter(BUILTIN / request.param)


def nearest(pixel: np.ndarray) -> str:
    """The named colour nearest to an RGB pixel."""
    return min(COLORS, key=lambda name: float(np.abs(np.asarray(COLORS[name], float) - pixel).sum()))


@pytest.mark.parametrize(
    ("prompt", "shape", "ground"),
    [
        ("a red circle on a blue background", "red", "blue"),
        ("A Yellow Square on a PURPLE background.", "yellow", "purple"),
    ],
)
def test_the_center_has_the_color_of_the_shape_and_the_corner_that_of_the_background(
    painter: Painter, prompt: str, shape: str, ground: str
) -> None:
    picture = painter.paint([prompt], [1])[0].astype(float)
    assert nearest(np.median(picture[120:136, 120:136].reshape(-1, 3), axis=0)) == shape
    assert nearest(picture[4, 4]) == ground
    assert background_color(picture.astype(np.uint8)) == ground


def test_a_night_is_dark_and_a_snowy_day_is_bright(painter: Painter) -> None:
    night, snow = painter.paint(
        ["a night sky with stars over the sea", "a pine forest in snow under a bright sun"], [1, 1]
    )
    assert night.mean() < 80 < 150 < snow.mean()


def test_the_same_seed_gives_the_same_picture_and_another_seed_another(painter: Painter) -> None:
    painter.steps, steps = 4, painter.steps
    prompt = "a sailboat on the ocean at sunset"
    first, again, other = (painter.paint([prompt], [seed])[0] for seed in (1, 1, 2))
    painter.steps = steps
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 2


@pytest.mark.parametrize("prompt", ["", "🦄❤️", "дом у моря 漢字", "a red circle " * 300, "zyxqv flurble"])
def test_no_prompt_breaks_it(painter: Painter, prompt: str) -> None:
    painter.steps, steps = 2, painter.steps
    assert painter.paint([prompt], [1]).shape == (1, 256, 256, 3)
    painter.steps = steps


def test_padding_hardly_changes_the_picture(painter: Painter) -> None:
    def paint(length: int) -> np.ndarray:
        out = painter.pipeline(
            "a red circle on a blue background", width=256, height=256, num_inference_steps=8, guidance_scale=2.5,
            max_sequence_length=length, generator=torch.Generator().manual_seed(1), output_type="np",
        )  # fmt: skip
        return np.asarray(out.images[0]) * 255

    assert np.abs(paint(32) - paint(256)).mean() < 8


def test_every_aspect_ratio_has_its_size(painter: Painter) -> None:
    painter.steps, steps = 2, painter.steps
    for width, height in painter.options["aspect_sizes"].values():
        assert painter.paint(["a sunset over mountains"], [1], width, height).shape == (1, height, width, 3)
    painter.steps = steps


def test_image_to_image_keeps_the_layout(painter: Painter) -> None:
    from diffusers import AutoPipelineForImage2Image

    start = np.zeros((256, 256, 3), np.uint8)
    start[:] = COLORS["blue"]
    start[80:176, 80:176] = COLORS["red"]
    changed = AutoPipelineForImage2Image.from_pipe(painter.pipeline)(
        prompt="a red square on a blue background", image=Image.fromarray(start), strength=0.5, num_inference_steps=10,
        width=256, height=256, max_sequence_length=64, generator=torch.Generator().manual_seed(1), output_type="np",
    ).images[0]  # fmt: skip
    picture = np.asarray(changed) * 255
    assert nearest(picture[128, 128]) == "red"
    assert nearest(picture[6, 6]) == "blue"


def test_a_negative_prompt_keeps_something_out() -> None:
    painter = Painter(BUILTIN / "demo-sd3")

    def brightness_without(what: str) -> float:
        return float(painter.paint(["mountains"], [1], negative_prompt=what).mean())

    assert brightness_without("a night sky") > brightness_without("a sunny day") + 20


@pytest.mark.parametrize("name", ["demo", "demo-sd3"])
def test_the_description_is_complete_and_the_folder_small(name: str) -> None:
    model = BUILTIN / name
    options = json.loads((model / "demo.json").read_text())
    offered = {spec.id: spec.options for spec in build_catalog({}, "demo")}[name]
    assert offered.steps == options["num_inference_steps"]
    assert [offered.defaults.width, offered.defaults.height] == options["native_size"]
    assert offered.defaults.guidance_scale == options["guidance_scale"]["default"]
    assert offered.defaults.max_sequence_length == options["max_sequence_length"]
    assert len(options["example_prompts"]) >= 6
    assert (model / options["unknown_words_tokenizer"]).exists()
    assert (model / "README.md").exists()
    assert sum(path.stat().st_size for path in model.rglob("*") if path.is_file()) < 20_000_000
