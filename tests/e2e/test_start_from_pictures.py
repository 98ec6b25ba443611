"""Input images end to end: from the gallery, as a file, with a mask."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tests.e2e.service import Service
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("service")]


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def fetched(service: Service, body: dict) -> Image.Image:
    (image,) = body["images"]
    picture = Image.open(io.BytesIO(service.client.get(image["url"]).content))
    picture.load()
    return picture


def test_img2img_of_a_gallery_image(service: Service) -> None:
    size = {"width": 64, "height": 64, "seed": 5}
    first = service.completed(service.submit("a boat", "tiny-flux", **size))["images"][0]
    body = {"prompt": "a boat", "image": first["image_id"], "settings": {"strength": 0.7, "seed": 5}}
    answer = service.client.post("/api/generate", json=body).json()
    assert answer["warnings"] == []
    done = service.completed(answer["job_id"])
    assert done["task"] == "img2img"
    assert done["progress"]["total_steps"] == 3  # FLUX rounds 0.7 of 3 up
    picture = fetched(service, done)
    assert picture.size == (64, 64)
    assert "Denoising strength: 0.7" in picture.text["parameters"]
    manifest = json.loads(picture.text["cyberimage"])
    assert manifest["inputs"]["image"] == {
        "image_id": first["image_id"],
        "sha256": first["sha256"],
        "width": 64,
        "height": 64,
    }
    assert (manifest["settings"]["strength"], manifest["effective"]["steps_run"]) == (0.7, 3)
    assert manifest["versions"]["pipeline"] == "FluxImg2ImgPipeline"


def test_files_of_a_form_are_inpainted(service: Service) -> None:
    photo = np.random.default_rng(1).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    mask = np.zeros((64, 96), np.uint8)
    mask[:, :48] = 255
    answer = service.client.post(
        "/api/generate",
        data={"prompt": "a boat", "model_id": "tiny-sd35", "settings": json.dumps({"strength": 1})},
        files={"image": ("photo.png", png(photo)), "mask": ("mask.png", png(mask))},
    )
    assert answer.status_code == 202, answer.text
    done = service.completed(answer.json()["job_id"])
    assert done["task"] == "inpaint"
    assert done["inputs"]["image"]["sha256"] == hashlib.sha256(png(photo)).hexdigest()
    pixels = np.asarray(fetched(service, done))
    assert np.array_equal(pixels[:, 48:], photo[:, 48:])
    assert not np.array_equal(pixels[:, :48], photo[:, :48])


def test_a_lower_strength_stays_closer_to_the_input_image(service: Service) -> None:
    sunset = {"prompt": "a beautiful sunset over mountains", "model_id": "demo", "settings": {"seed": 1}}
    start = service.completed(service.client.post("/api/generate", json=sunset).json()["job_id"])
    original = np.asarray(fetched(service, start)).astype(int)
    distances = []
    for strength in (0.3, 0.6, 1.0):
        night = {
            "prompt": "a night sky with stars over the sea",
            "model_id": "demo",
            "image": start["images"][0]["image_id"],
            "settings": {"seed": 2, "strength": strength},
        }
        done = service.completed(service.client.post("/api/generate", json=night).json()["job_id"])
        distances.append(np.abs(np.asarray(fetched(service, done)) - original).mean())
    assert distances == sorted(distances)
    assert distances[0] * 2 < distances[2]


def test_the_tasks_of_each_model_are_listed(service: Service) -> None:
    tasks = {model["id"]: model["tasks"] for model in service.client.get("/api/models").json()["models"]}
    for model_id in ("demo", "tiny-flux", "tiny-sd35"):
        assert tasks[model_id] == ["txt2img", "img2img", "inpaint"]


def test_input_images_survive_a_killed_worker(new_service: Callable[..., Service]) -> None:
    service = new_service(HEARTBEAT_SECONDS="0.5", LEASE_SECONDS="2")
    service.start()
    photo = png(np.random.default_rng(1).integers(0, 255, (512, 512, 3), dtype=np.uint8))
    form = {"prompt": "a boat", "settings": json.dumps({"strength": 1, "num_inference_steps": 50, "seed": 4})}
    job_id = service.client.post("/api/generate", data=form, files={"image": photo}).json()["job_id"]
    wait_until(lambda: service.status(job_id)["progress"]["step"] > 0, "it was never begun")
    (worker,) = service.workers()
    worker.kill()
    done = service.completed(job_id)
    assert done["attempt"] == 2
    assert done["inputs"]["image"]["sha256"] == hashlib.sha256(photo).hexdigest()
    again = service.client.post("/api/generate", data=form, files={"image": photo}).json()["job_id"]
    assert np.array_equal(np.asarray(fetched(service, done)), np.asarray(fetched(service, service.completed(again))))
