"""The built-in models draw what the prompt says, from the HTTP request to the PNG."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from app.config import ROOT
from tests.e2e.service import Service

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.xdist_group("service"),
    pytest.mark.skipif(not (ROOT / "builtin/demo/model_index.json").exists(), reason="the built-in model is not here"),
]
SEEDS = (1, 2, 3)
PATCH = 12  # pixels

Color = npt.NDArray[np.float64]


def draw(
    service: Service, prompt: str, seed: int, model_id: str = "demo", **more: Any
) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
    body = {"prompt": prompt, "model_id": model_id, "settings": {"seed": seed}, **more}
    job = service.completed(service.client.post("/api/generate", json=body).raise_for_status().json()["job_id"])
    with Image.open(io.BytesIO(service.client.get(job["images"][0]["url"]).content)) as picture:
        return np.asarray(picture.convert("RGB")), job


def patch(pixels: npt.NDArray[np.uint8], row: int, column: int) -> Color:
    """The mean colour around a point; negative coordinates count from the end."""
    height, width, _ = pixels.shape
    top, left = (row % height) - (PATCH if row < 0 else 0), (column % width) - (PATCH if column < 0 else 0)
    found: Color = pixels[top : top + PATCH, left : left + PATCH].reshape(-1, 3).mean(axis=0)
    return found


def is_mostly(color: Color, channel: str) -> bool:
    index = "rgb".index(channel)
    return all(color[index] > 1.5 * color[other] for other in range(3) if other != index)


@pytest.mark.parametrize(("model_id", "seed"), [*(("demo", seed) for seed in SEEDS), ("demo-sd3", 1)])
def test_a_red_circle_on_a_blue_background(service: Service, model_id: str, seed: int) -> None:
    pixels, job = draw(service, "a red circle on a blue background", seed, model_id)
    height, width, _ = pixels.shape
    assert is_mostly(patch(pixels, height // 2, width // 2), "r")
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert is_mostly(patch(pixels, row, column), "b"), (row, column)
    assert job["warnings"] == []


@pytest.mark.parametrize("seed", SEEDS)
def test_night_is_dark_and_blue_and_a_sunset_is_warm(service: Service, seed: int) -> None:
    night, _ = draw(service, "a night sky with stars over the sea", seed)
    sunset, _ = draw(service, "a beautiful sunset over mountains", seed)
    sky = night[: night.shape[0] // 3].astype(float)
    assert np.median(sky) < 80
    assert sky[..., 2].mean() > 1.3 * sky[..., 0].mean()
    middle = sunset[sunset.shape[0] // 4 : sunset.shape[0] // 2].reshape(-1, 3).mean(axis=0)
    assert middle[0] > 1.3 * middle[2]


def test_a_negative_prompt_keeps_something_out(service: Service) -> None:
    bright, _ = draw(service, "mountains", 1, "demo-sd3", negative_prompt="a night sky")
    dim, _ = draw(service, "mountains", 1, "demo-sd3", negative_prompt="a sunny day")
    assert bright.mean() > dim.mean() + 20


@pytest.mark.parametrize("model_id", ["demo", "demo-sd3"])
def test_unknown_words_are_reported_with_what_it_can_draw(service: Service, model_id: str) -> None:
    _, job = draw(service, "a zebra on a blue background, 子供, 🎈", 1, model_id)
    assert any("zebra" in warning for warning in job["warnings"])
