"""What the list of models says of a checkpoint's tasks before it is loaded: its class tells."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from app import create_app
from app.services.media.publish import GenerationResult, Picture, publish

CLASSES = {
    "fill": ("FluxFillPipeline", ["inpaint"]),
    "inpainting": ("StableDiffusionInpaintPipeline", ["inpaint"]),
    "refiner": ("StableDiffusionXLImg2ImgPipeline", ["img2img"]),
    "pix2pix": ("StableDiffusionInstructPix2PixPipeline", ["edit"]),
    "edit": ("QwenImageEditPipeline", ["inpaint", "edit"]),
    "kontext": ("FluxKontextPipeline", ["txt2img", "inpaint", "edit"]),
    "canny": ("FluxControlPipeline", ["txt2img", "img2img", "inpaint"]),
    "control": ("StableDiffusionControlNetPipeline", []),
    "strange": ("FancyNewPipeline", ["txt2img"]),
    "sana": ("SanaPipeline", ["txt2img"]),
    "film": ("WanPipeline", ["txt2img"]),  # its line says that it makes pictures: its worker explains
}


@pytest.fixture
def app(settings_in, tmp_path):
    lines = {}
    for name, (kind, _) in CLASSES.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model_index.json").write_text(json.dumps({"_class_name": kind}))
        lines[f"MODEL_{name}"] = f"{name};{folder};A model;local;false"
    app = create_app(settings_in(tmp_path, model_lines=lines, default_model_id="kontext"))
    yield app
    app.extensions["cyberimage"].close()


@pytest.fixture
def picture() -> str:
    kept = io.BytesIO()
    Image.new("RGB", (64, 64), "gray").save(kept, "PNG")
    return base64.b64encode(kept.getvalue()).decode()


def test_the_class_tells_the_tasks(client):
    listed = {model["id"]: model["tasks"] for model in client.get("/api/models").json["models"]}
    assert {name: listed[name] for name in CLASSES} == {name: tasks for name, (_, tasks) in CLASSES.items()}


@pytest.mark.parametrize(
    ("model_id", "message"),
    [
        ("fill", "cannot generate from a prompt alone (send an image and a mask)"),
        ("inpainting", "cannot generate from a prompt alone (send an image and a mask)"),
        ("refiner", "cannot generate from a prompt alone (send an image)"),
        ("edit", "cannot generate from a prompt alone (send an image, and say in the prompt what to change)"),
        ("control", "cannot generate from a prompt alone (choose another model: it needs inputs"),
    ],
)
def test_what_a_class_does_not_do_is_refused_with_what_it_needs(client, problem, model_id, message):
    answer = client.post("/api/generate", json={"prompt": "x", "model_id": model_id})
    assert message in problem(answer, 400, "unsupported_task")["detail"]


def test_what_it_does_is_accepted(client, problem, picture):
    def send(model_id, **pictures):
        return client.post("/api/generate", json={"prompt": "x", "model_id": model_id, **pictures})

    for name in ("fill", "inpainting", "kontext"):
        assert send(name, image=picture, mask=picture).status_code == 202
    for name in ("refiner", "pix2pix", "edit", "kontext", "strange"):  # of the last one the worker will know
        assert send(name, image=picture).status_code == 202
    problem(send("fill", image=picture), 400, "unsupported_task")
    problem(send("refiner", image=picture, mask=picture), 400, "unsupported_task")
    problem(send("sana", image=picture), 400, "unsupported_task")


def test_the_status_says_the_size_that_came(client, context, worker):
    body = {"prompt": "x", "model_id": "kontext", "settings": {"width": 128, "height": 192}}
    url = client.post("/api/generate", json=body).json["status_url"]
    settings = client.get(url).json["settings"]
    assert (settings["width"], settings["height"]) == (128, 192)
    made = GenerationResult(
        [Picture(np.zeros((1248, 832, 3), np.uint8), 1)], {}, {}, {}, warnings=("kontext drew 832 × 1248.",)
    )
    publish(context, worker.claim(), made)
    status = client.get(url).json
    assert (status["settings"]["width"], status["settings"]["height"]) == (832, 1248)
    assert status["warnings"] == ["kontext drew 832 × 1248."]
