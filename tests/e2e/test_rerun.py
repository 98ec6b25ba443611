"""A rerun of an image of the tiny model has identical pixels, with and without an input image."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from tests.e2e.service import Service

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("service")]


def pixels(service: Service, url: str) -> np.ndarray:
    with Image.open(io.BytesIO(service.client.get(url).content)) as picture:
        return np.asarray(picture)


def start() -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (80, 96, 3), np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def middle() -> str:
    mask, buffer = np.zeros((80, 96), np.uint8), io.BytesIO()
    mask[30:50, 40:60] = 255
    Image.fromarray(mask).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


AREA = {"inpaint_area": "masked", "mask_blur": 3, "inpaint_fill": "noise", "strength": 0.8}
EXTENDED = [{"role": "image", "source": start(), "extend": {"right": 32}}]


@pytest.mark.parametrize(
    ("pictures", "more"),
    [
        ({}, {}),
        ({"image": start()}, {"strength": 0.7}),
        ({}, {"scheduler": "DPM++ 2M SDE", "shift": 2.0}),
        ({"image": start(), "mask": middle()}, AREA),
        ({"inputs": EXTENDED}, {"scheduler": "unipc"}),
        ({}, {"width": 64, "height": 64, "upscale": {"factor": 1.5, "strength": 0.6, "model": "lanczos"}}),
    ],
)
def test_it_is_the_same_picture(service: Service, pictures: dict, more: dict) -> None:
    settings = {"num_inference_steps": 4, "num_images": 2} | more
    body = {"prompt": "a boat", "model_id": "tiny-sd35", "settings": settings} | pictures
    first = service.completed(service.client.post("/api/generate", json=body).json()["job_id"])["images"][1]
    answer = service.client.post(f"/api/image/{first['image_id']}/rerun")
    assert answer.status_code == 202, answer.text
    again = service.completed(answer.json()["job_id"])
    assert again["warnings"] == []
    (second,) = again["images"]
    assert second["seed"] == first["seed"]
    assert (pixels(service, second["url"]) == pixels(service, first["url"])).all()


def test_an_enlarged_picture_is_the_same_again(service: Service) -> None:
    drawn = service.completed(service.submit("a boat", "tiny-sd35", num_inference_steps=2, width=64, height=64))
    source = drawn["images"][0]
    answer = service.client.post(f"/api/image/{source['image_id']}/upscale", json={"factor": 4, "model": "drawings-x2"})
    assert answer.status_code == 202, answer.text
    first = service.completed(answer.json()["job_id"])
    assert (first["images"][0]["width"], first["progress"]["total_steps"]) == (256, 2)  # two passes of a tile
    again = service.client.post(f"/api/image/{first['images'][0]['image_id']}/rerun").json()
    second = service.completed(again["job_id"])
    assert second["warnings"] == []
    assert (pixels(service, second["images"][0]["url"]) == pixels(service, first["images"][0]["url"])).all()
    upscalers = {one["id"]: one["loaded"] for one in service.client.get("/api/upscalers").json()["upscalers"]}
    assert upscalers["drawings-x2"]
