"""Picture to picture in one call, and LoRAs in the flat words."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from app import create_app

MODEL = (
    'tiny;/none;Tiny;local;false;{"tasks": ["txt2img", "img2img", "inpaint"], "defaults": {"width": 64, "height": 64},'
    ' "limits": {"min_width": 32, "min_height": 32, "max_width": 128, "max_height": 128}}'
)


@pytest.fixture
def app(settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, model_lines={"MODEL_T": MODEL}, default_model_id="tiny"))
    yield app
    app.extensions["cyberimage"].close()


def picture(size=(64, 64), colour="red") -> str:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize("path", ["/api/v1/generate/img2img", "/api/v1/img2img", "/v1/generate/img2img", "/v1/img2img"])
def test_every_spelling_starts_from_the_picture(client, worker, next_job, context, path):
    with next_job(worker.finish):
        answer = client.post(path, json={"prompt": "a fox", "image": picture(), "strength": 0.5, "seed": 3})
    assert answer.status_code == 200, answer.text
    request = context.jobs.get(answer.json["job_id"]).request
    assert (request.task, request.strength, request.seed) == ("img2img", 0.5, 3)
    assert base64.b64decode(answer.json["image"]).startswith(b"\x89PNG")


def test_a_data_uri_a_gallery_picture_and_a_mask(client, worker, context):
    uri = f"data:image/png;base64,{picture()}"
    first = client.post("/v1/img2img", json={"prompt": "a fox", "image": uri, "timeout": 0})
    image_id = worker.finish()[0]
    body = {"prompt": "a fox", "image": image_id, "mask": picture((64, 48), "white"), "timeout": 0}
    second = client.post("/v1/img2img", json=body)
    assert (first.status_code, second.status_code) == (202, 202)
    assert context.jobs.get(second.json["job_id"]).request.task == "inpaint"


def test_a_form_with_a_file(client, context):
    form = {"prompt": "a fox", "strength": "0.5", "timeout": "0", "seed": "-1"}
    form["image"] = (io.BytesIO(base64.b64decode(picture())), "start.png")
    answer = client.post("/v1/img2img", data=form, content_type="multipart/form-data")
    assert answer.status_code == 202, answer.text
    assert context.jobs.get(answer.json["job_id"]).request.strength == 0.5


@pytest.mark.parametrize(
    ("wrong", "code", "field"),
    [
        ({"image": None}, "invalid_request", "image"),
        ({"image": "!!"}, "invalid_image", "image"),
        ({"strength": 0}, "invalid_request", "strength"),
        ({"strength": 1.1}, "invalid_request", "strength"),
        ({"mask": "!!"}, "invalid_image", "mask"),
    ],
)
def test_what_is_wrong_is_named(client, problem, wrong, code, field):
    body = {"prompt": "a fox", "image": picture()} | wrong
    found = problem(client.post("/v1/img2img", json=body), 400, code)
    assert [one["field"] for one in found["errors"]] == [field]


def test_words_alone_take_no_picture(client, problem):
    problem(client.post("/v1/txt2img", json={"prompt": "a fox", "image": picture()}), 400, "invalid_request")


@pytest.mark.parametrize("wrong", [{"lora_scale": 0.5}, {"lora_path": "x", "lora_scale": 2.1}, {"lora_path": ""}])
def test_wrong_lora_words(client, problem, wrong):
    problem(client.post("/v1/txt2img", json={"prompt": "x", **wrong}), 400, "invalid_request")
