"""The official client of Hugging Face, unmodified, pointed at one of our models."""

from __future__ import annotations

import io

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image

from app import create_app
from app.core.job import JobStatus
from tests.server.serving import served

MODEL = (
    'tiny;/none;Tiny;local;false;{"tasks": ["txt2img", "img2img"], "defaults": {"width": 64, "height": 64},'
    ' "limits": {"min_width": 32, "min_height": 32, "max_width": 128, "max_height": 128}}'
)


@pytest.fixture
def app(settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, model_lines={"MODEL_T": MODEL}, default_model_id="tiny"))
    yield app
    app.extensions["cyberimage"].close()


@pytest.fixture
def model(app):
    """Makes the client of a model."""
    with served(app) as address:
        url = f"http://{address}/v1/inference"
        yield lambda name="tiny", **more: InferenceClient(model=f"{url}/{name}", timeout=60, **more)


@pytest.fixture
def last(context):
    return lambda: context.jobs.newest([JobStatus.COMPLETED], limit=1)[0].request


def test_text_to_image(model, worker, next_job, last):
    with next_job(worker.finish):
        picture = model().text_to_image(
            "a red fox", negative_prompt="blue", width=96, height=64, num_inference_steps=4, guidance_scale=2.5, seed=7
        )
    assert isinstance(picture, Image.Image)
    assert picture.size == (64, 48)
    request = last()
    assert (request.prompt, request.negative_prompt, request.model_id) == ("a red fox", "blue", "tiny")
    assert (request.width, request.height, request.num_inference_steps) == (96, 64, 4)
    assert (request.guidance_scale, request.seed) == (2.5, 7)


def test_text_to_image_with_nothing_but_words(model, worker, next_job, last):
    with next_job(worker.finish):
        assert model(token="hf_of_no_meaning_here").text_to_image("a red fox").size == (64, 48)
    assert last().prompt == "a red fox"


def test_image_to_image(model, worker, next_job, last):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "PNG")
    with next_job(worker.finish):
        picture = model().image_to_image(
            buffer.getvalue(), prompt="a fox", strength=0.5, target_size={"width": 96, "height": 64}
        )
    assert picture.size == (64, 48)
    request = last()
    assert (request.task, request.strength, request.width, request.height) == ("img2img", 0.5, 96, 64)


def test_its_errors_are_in_its_words(model, worker, next_job):
    with next_job(worker.fail), pytest.raises(HfHubHTTPError, match="smaller size") as failed:
        model().text_to_image("a fox")
    assert failed.value.response.status_code == 507
    with pytest.raises(HfHubHTTPError, match="did you mean euler"):
        model().text_to_image("a fox", scheduler="Eular")
    with pytest.raises(HfHubHTTPError, match="no model 'none'"):
        model("none").text_to_image("a fox")


def test_one_that_is_late_is_no_picture(model, context):
    with pytest.raises(HfHubHTTPError, match="the job is still running: /api/status/") as late:
        model().text_to_image("a fox", extra_body={"timeout": 0.05})
    assert late.value.response.status_code == 504
    assert context.jobs.count_pending() == 1
