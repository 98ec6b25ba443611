"""Bodies with pictures share a bounded part of the memory, and give it back however their request ends."""

from __future__ import annotations

import base64
import io
import json
import threading

import numpy as np
import pytest
from PIL import Image

from app import create_app
from app.core.budget import Budget
from tests.api.native.test_inputs import MODEL
from tests.waiting import PATIENCE, wait_until


@pytest.fixture
def app(settings_in, tmp_path):
    lines = {"MODEL_T": MODEL}
    app = create_app(settings_in(tmp_path, model_lines=lines, default_model_id="tiny", max_body_bytes=2048))
    yield app
    app.extensions["cyberimage"].close()


@pytest.fixture
def here(app):
    return app.extensions["cyberimage"]


@pytest.fixture
def noise() -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def everything_is_back(here) -> bool:
    bodies, pixels = here.large_bodies, here.context.pixels
    return bodies._free == bodies.total and pixels._free == pixels.total


def test_it_is_given_back_however_a_request_ends(client, here, noise, monkeypatch):
    taken = []
    acquire = Budget.acquire
    monkeypatch.setattr(Budget, "acquire", lambda self, amount: (taken.append(amount), acquire(self, amount)))
    picture = base64.b64encode(noise).decode()
    limit = here.context.settings.max_body_bytes + here.context.settings.input_body_bytes
    requests = [
        (202, {"json": {"prompt": "x", "image": picture}}),
        (400, {"json": {"prompt": "x", "image": picture, "colour": "red"}}),
        (400, {"json": {"prompt": "x", "image": picture[:-400]}}),
        (413, {"json": {"prompt": "x" * 5000, "image": picture}}),
        (413, {"data": b"{" * 5000, "content_type": "application/json"}),
        (413, {"data": b"x" * (limit + 1), "content_type": "application/json"}),
        (202, {"data": {"prompt": "x", "image": (io.BytesIO(noise), "a.png")}}),
        (400, {"data": {"prompt": "x", "image": (io.BytesIO(noise[:500]), "a.png")}}),
    ]
    for status, sent in requests:
        taken.clear()
        answer = client.post("/api/generate", **sent)
        assert answer.status_code == status, answer.text
        assert everything_is_back(here)
        assert taken or status == 413
    unannounced = {"content_type": "application/json", "environ_overrides": {"wsgi.input_terminated": True}}
    body = io.BytesIO(json.dumps({"prompt": "x", "image": picture}).encode())
    answer = client.post("/api/generate", data=body, **unannounced)
    assert answer.status_code == 202, answer.text
    assert everything_is_back(here)


def test_who_comes_when_all_is_taken_is_told_to_come_back(client, here, noise, problem):
    here.large_bodies = Budget(here.large_bodies.total, most_waiting=1, timeout=0.01)
    body = {"prompt": "x", "image": base64.b64encode(noise).decode()}
    with here.large_bodies.taking(here.large_bodies.total):
        answer = client.post("/api/generate", json=body)
        problem(answer, 503, "unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert client.post("/api/generate", json={"prompt": "small"}).status_code == 202
    here.context.pixels = Budget(here.context.pixels.total, most_waiting=1, timeout=0.01)
    with here.context.pixels.taking(here.context.pixels.total):
        problem(client.post("/api/generate", json=body), 503, "unavailable")
    assert client.post("/api/generate", json=body).status_code == 202
    assert everything_is_back(here)


@pytest.mark.parametrize("route", ["/v1/img2img", "/v1/inference/tiny"])
def test_a_call_that_waits_for_its_picture_holds_no_body(app, here, context, worker, noise, route):
    picture = base64.b64encode(noise).decode()
    body = {"prompt": "x", "image": picture}
    if "inference" in route:
        body = {"inputs": picture, "parameters": {"prompt": "x"}}
    answers = []
    thread = threading.Thread(target=lambda: answers.append(app.test_client().post(route, json=body)))
    thread.start()
    wait_until(lambda: context.jobs.count_pending() == 1, "it was not accepted")
    wait_until(lambda: everything_is_back(here), "it holds its body while it waits")
    assert not answers
    worker.finish()
    thread.join(PATIENCE)
    assert answers[0].status_code == 200
