"""OpenAI's own SDK, unmodified, against a running service."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import openai
import pytest
from PIL import Image

from tests.e2e.service import Service
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", params=["/v1", "/api/openai/v1"])
def sdk(demo_service: Service, request) -> Iterator[openai.OpenAI]:
    base = f"http://127.0.0.1:{demo_service.environment['PORT']}{request.param}"
    with openai.OpenAI(base_url=base, api_key="none", timeout=PATIENCE, max_retries=2) as client:
        yield client


def picture_of(encoded: str | None) -> Image.Image:
    picture = Image.open(io.BytesIO(base64.b64decode(encoded or "", validate=True)))
    picture.load()
    return picture


def as_file(picture: Image.Image, name: str) -> tuple[str, bytes, str]:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return name, buffer.getvalue(), "image/png"


def test_models(sdk) -> None:
    assert "demo" in [model.id for model in sdk.models.list()]
    assert sdk.models.retrieve("demo").object == "model"
    with pytest.raises(openai.NotFoundError) as caught:
        sdk.models.retrieve("none")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_pictures_come_as_base64(sdk) -> None:
    answer = sdk.images.generate(model="demo", prompt="a red circle", n=2, size="256x256", extra_body={"seed": 7})
    assert [picture_of(one.b64_json).size for one in answer.data] == [(256, 256)] * 2
    assert [one.model_extra["seed"] for one in answer.data] == [7, 8]
    assert (answer.size, answer.output_format, answer.background) == ("256x256", "png", "opaque")
    assert answer.usage.total_tokens == answer.usage.input_tokens_details.image_tokens == 0


def test_the_same_seed_gives_the_same_pixels_as_the_native_interface(sdk, demo_service) -> None:
    answer = sdk.images.generate(
        model="demo", prompt="a blue square", size="256x256", extra_body={"seed": 3, "steps": 6}
    )
    job = demo_service.submit("a blue square", "demo", width=256, height=256, seed=3, num_inference_steps=6)
    [native] = demo_service.completed(job)["images"]
    with Image.open(io.BytesIO(demo_service.client.get(native["url"]).content)) as expected:
        assert np.array_equal(np.asarray(expected), np.asarray(picture_of(answer.data[0].b64_json)))


@pytest.mark.parametrize("format", ["webp", "jpeg"])
def test_formats(sdk, format) -> None:
    answer = sdk.images.generate(model="demo", prompt="x", output_format=format, output_compression=70, quality="low")
    assert picture_of(answer.data[0].b64_json).format == format.upper()
    assert (answer.output_format, answer.quality) == (format, "low")


def test_a_size_that_the_model_cannot_draw(sdk) -> None:
    raw = sdk.images.with_raw_response.generate(model="demo", prompt="x", size="1024x1536")
    answer = raw.parse()
    assert raw.headers["X-Image-Size"] == answer.size
    width, height = map(int, answer.size.split("x"))
    assert picture_of(answer.data[0].b64_json).size == (width, height)
    assert width < height
    if answer.size != "1024x1536":
        assert "1024x1536" in answer.model_extra["warnings"][0]


def test_urls_lead_to_the_picture_without_a_token(sdk) -> None:
    answer = sdk.images.generate(model="demo", prompt="x", response_format="url")
    with Image.open(io.BytesIO(httpx.get(answer.data[0].url).raise_for_status().content)) as picture:
        assert picture.format == "PNG"


def test_an_edit_with_a_mask_leaves_the_rest_alone(sdk) -> None:
    """Opaque is kept, transparent is painted: the opposite of our own masks."""
    source = Image.new("RGB", (256, 256), "green")
    mask = Image.new("RGBA", (256, 256), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 128, 256))
    answer = sdk.images.edit(
        model="demo",
        image=as_file(source, "blob"),
        mask=as_file(mask, "mask.png"),
        prompt="a red circle",
        n=1,
        extra_body={"seed": 1},
    )
    drawn = np.asarray(picture_of(answer.data[0].b64_json).convert("RGB")).astype(int)
    change = np.abs(drawn - np.asarray(source).astype(int)).mean(axis=(0, 2))
    assert change[:96].mean() > 4 * max(change[160:].mean(), 1.0)


def test_an_edit_of_a_picture_and_a_variation(sdk) -> None:
    source = as_file(Image.new("RGB", (256, 256), "green"), "a.png")
    edited = sdk.images.edit(model="demo", image=[source], prompt="a circle", size="256x256")
    assert picture_of(edited.data[0].b64_json).size == (256, 256)
    varied = sdk.images.create_variation(model="demo", image=source, n=1)
    assert picture_of(varied.data[0].b64_json).size == (256, 256)


def test_a_stream(sdk) -> None:
    events = list(sdk.images.generate(model="demo", prompt="x", stream=True, partial_images=2, size="256x256"))
    assert events[-1].type == "image_generation.completed"
    assert [event.type for event in events[:-1]] == ["image_generation.partial_image"] * (len(events) - 1)
    assert len(events) <= 3
    assert [event.partial_image_index for event in events[:-1]] == list(range(len(events) - 1))
    for event in events:
        assert picture_of(event.b64_json).format == "PNG"
        assert event.quality == "medium"
    assert events[-1].usage.total_tokens == 0
    assert events[-1].size == "256x256"


def test_a_streamed_edit(sdk) -> None:
    source = as_file(Image.new("RGB", (256, 256), "green"), "a.png")
    *_, last = sdk.images.edit(model="demo", image=source, prompt="x", stream=True)
    assert last.type == "image_edit.completed"


@pytest.mark.parametrize(
    ("wrong", "kind", "code"),
    [
        ({"model": "none"}, openai.NotFoundError, "model_not_found"),
        ({"n": 99}, openai.BadRequestError, "invalid_request"),
        ({"size": "big"}, openai.BadRequestError, "invalid_request"),
        ({"prompt": "<script>alert(1)</script>"}, openai.BadRequestError, "suspicious_input"),
    ],
)
def test_errors(sdk, wrong, kind, code) -> None:
    with pytest.raises(kind) as caught:
        sdk.images.generate(**{"model": "demo", "prompt": "x", **wrong})
    assert caught.value.code == code


def test_a_picture_that_is_none(sdk) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.images.edit(model="demo", image=("a.png", b"no picture", "image/png"), prompt="x")
    assert (caught.value.code, caught.value.param) == ("invalid_image", "image")


def test_killing_the_api_in_the_middle_of_a_call_loses_nothing_and_draws_nothing_twice(demo_service) -> None:
    """The SDK's own retry joins the job of its first try, which went on."""
    base = f"http://127.0.0.1:{demo_service.environment['PORT']}/v1"
    with openai.OpenAI(base_url=base, api_key="none", timeout=PATIENCE, max_retries=10) as sdk:
        drawing = {"model": "demo", "prompt": "an unsinkable boat", "n": 2, "extra_body": {"steps": 50, "seed": 5}}
        with ThreadPoolExecutor() as pool:
            call = pool.submit(sdk.images.with_raw_response.generate, **drawing)
            wait_until(lambda: demo_service.client.get("/api/queue").json()["running"], "it was not begun")
            for process in demo_service.family():
                if "app.server.gunicorn_app" in process.cmdline():
                    process.kill()
            answer = call.result(PATIENCE)
    assert answer.retries_taken >= 1
    data = answer.parse().data
    assert [one.model_extra["seed"] for one in data] == [5, 6]
    found = demo_service.client.get("/api/images", params={"search": "unsinkable"}).json()["images"]
    assert len(found) == 2
    assert len({one["job_id"] for one in found}) == 1
    files = {demo_service.client.get(one["url"]).content for one in found}
    assert files == {base64.b64decode(one.b64_json) for one in data}
    assert demo_service.status(found[0]["job_id"])["attempt"] == 1
