"""AUTOMATIC1111's upscaling and second pass: translated, bounded, noted."""

from __future__ import annotations

import base64
import io
import json

import pytest
from PIL import Image

from app import create_app
from app.api.a1111.bodies import Img2ImgRequest, Txt2ImgRequest
from app.api.a1111.second_pass import second_pass
from app.core.builtin_models import BUILTIN_MODEL_LINES
from app.core.catalog_lines import parse_model_line

DEMO = parse_model_line(BUILTIN_MODEL_LINES["MODEL_01"])
SINGLE, BATCH = "/sdapi/v1/extra-single-image", "/sdapi/v1/extra-batch-images"


def png(width: int = 64, height: int = 48) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(
    ("body", "wanted", "note"),
    [
        ({}, {}, None),
        ({"enable_hr": False, "hr_scale": 2, "hr_upscaler": "Latent"}, {}, None),
        ({"enable_hr": True}, {"factor": 2.0}, None),
        ({"enable_hr": True, "hr_scale": "1.5", "hr_upscaler": "lanczos"}, {"factor": 1.5, "model": "lanczos"}, None),
        ({"enable_hr": True, "hr_resize_x": 384}, {"factor": 1.5}, None),
        ({"enable_hr": True, "hr_resize_x": 320, "hr_resize_y": 384}, {"factor": 1.5}, "nothing is cut off"),
        ({"enable_hr": True, "hr_scale": 4}, {"factor": 2.0}, "4 was brought down to 2"),
        ({"enable_hr": True, "hr_upscaler": "Latent (nearest)"}, {"factor": 2.0, "model": "Latent (nearest)"}, None),
        ({"enable_hr": True, "hr_second_pass_steps": 12}, {"factor": 2.0, "steps": 12}, None),
        ({"enable_hr": True, "denoising_strength": 0.7}, {"factor": 2.0, "strength": 0.7}, None),
        ({"enable_hr": True, "denoising_strength": 0, "steps": 20}, {"factor": 2.0, "strength": 0.05}, "within 0.05"),
        ({"enable_hr": True, "width": 512, "height": 512}, {}, "cannot draw larger"),
    ],
)
def test_a_second_pass(body, wanted, note) -> None:
    asked, notes = Txt2ImgRequest.model_validate(body), []
    drawn = {"width": asked.width or 256, "height": asked.height or 256, "num_inference_steps": asked.steps or 20}
    assert second_pass(asked, DEMO, drawn, notes) == ({"upscale": wanted} if wanted else {})
    assert [note in each for each in notes] == ([True] if note else [])


def test_it_is_for_txt2img() -> None:
    notes: list[str] = []
    assert second_pass(Img2ImgRequest(enable_hr=True), DEMO, {}, notes) == {}
    assert notes == ["enable_hr was not used: it is for txt2img."]


def test_a_model_without_img2img_draws_once(client, worker, next_job) -> None:
    body = {"prompt": "x", "enable_hr": True, "override_settings": {"sd_model_checkpoint": "krea-2-turbo"}}
    with next_job(worker.finish):
        answer = client.post("/sdapi/v1/txt2img", json=body)
    assert answer.status_code == 200, answer.text
    assert "upscale was not used: it does not fit this model." in json.loads(answer.json["info"])["warnings"]


def test_an_unknown_upscaler_is_refused(client) -> None:
    answer = client.post("/sdapi/v1/txt2img", json={"prompt": "x", "enable_hr": True, "hr_upscaler": "ESRGAN_4x"})
    assert (answer.status_code, answer.json["error"]) == (400, "unknown_model")
    answer = client.post(SINGLE, json={"image": png(), "upscaler_1": "ESRGAN_4x"})
    assert (answer.status_code, answer.json["error"]) == (400, "unknown_model")
    assert "drawings-x2, lanczos" in answer.json["detail"]


def test_a_picture(client, worker, next_job, context) -> None:
    with next_job(worker.finish):
        body = {"image": png(), "upscaler_1": "lanczos", "upscaling_resize": 1.5, "gfpgan_visibility": 1}
        answer = client.post(SINGLE, json=body)
    assert answer.status_code == 200, answer.text
    assert base64.b64decode(answer.json["image"])[:4] == b"\x89PNG"
    assert "gfpgan_visibility was not used." in answer.json["html_info"]
    request = context.jobs.get(answer.headers["X-Job-Id"]).request
    assert (request.width, request.height, request.upscale.factor) == (96, 72, 1.5)


def test_to_a_size(client, worker, next_job, context) -> None:
    size = {"resize_mode": 1, "upscaling_resize_w": 128, "upscaling_resize_h": 240, "upscaling_crop": True}
    with next_job(worker.finish):
        answer = client.post(SINGLE, json={"image": f"data:image/png;base64,{png()}"} | size)
    request = context.jobs.get(answer.headers["X-Job-Id"]).request
    assert (request.width, request.height) == (320, 240)
    assert "nothing is cut off" in answer.json["html_info"]


def test_several_pictures_are_one_job(client, worker, next_job, context) -> None:
    with next_job(worker.finish):
        listed = [{"data": png(), "name": "a.png"}, {"data": png(20, 30), "name": "b.png"}]
        answer = client.post(BATCH, json={"imageList": listed, "upscaler_1": "None"})
    assert len(answer.json["images"]) == 2
    job = context.jobs.get(answer.headers["X-Job-Id"])
    assert (job.request.num_images, job.request.model_id) == (2, "lanczos")
    assert list(context.inputs.pngs(job.id)) == ["image", "image-2"]


def test_several_pictures_have_a_bound_together(settings_in, tmp_path) -> None:
    app = create_app(settings_in(tmp_path, input_max_pixels=4096))
    listed = [{"data": png(64, 64)}] * 3
    answer = app.test_client().post(BATCH, json={"imageList": listed})
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_image")
    assert "12,288 pixels together" in answer.json["detail"]
    app.extensions["cyberimage"].close()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "invalid_request"),
        ({"image": "%"}, "invalid_image"),
        ({"image": png(), "upscaling_resize": 9}, "invalid_request"),
        ({"image": png(2000, 2000), "upscaling_resize": 2}, "invalid_request"),
        ({"image": "0" * 32}, "invalid_image"),
    ],
)
def test_what_cannot_be_is_refused(client, body, error) -> None:
    answer = client.post(SINGLE, json=body)
    assert (answer.status_code, answer.json["error"]) == (400, error)
