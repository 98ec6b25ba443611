"""Pictures from pictures over the WebSocket, and its webhooks."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from websockets.sync.client import connect

from app import create_app
from app.core.budget import Budget
from tests.api.v1.test_img2img import MODEL, picture
from tests.api.v1.test_stream import hear, hear_end
from tests.server.serving import served
from tests.waiting import PATIENCE


@pytest.fixture
def app(settings_in, tmp_path):
    lines = {"model_lines": {"MODEL_T": MODEL}, "default_model_id": "tiny", "webhook_allow_private": True}
    app = create_app(settings_in(tmp_path, **lines))
    yield app
    app.extensions["cyberimage"].context.close()


@pytest.fixture
def open_stream(app):
    with served(app) as address:
        yield lambda path: connect(f"ws://{address}{path}", open_timeout=PATIENCE)


def large_picture() -> str:
    """More than the socket takes of a request without pictures."""
    noise = np.random.default_rng(1).integers(0, 256, (700, 700, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize("prefix", ["", "/api/v1", "/v1"])
def test_a_picture_is_drawn_over(open_stream, worker, context, prefix):
    with open_stream(f"{prefix}/stream/generate/img2img") as connection:
        connection.send(json.dumps({"prompt": "a fox", "image": picture(), "strength": 0.5, "seed": 3}))
        job_id = hear(connection)["job_id"]
        worker.finish()
        result, code = hear_end(connection)
    request = context.jobs.get(job_id).request
    assert (request.task, request.strength, request.seed) == ("img2img", 0.5, 3)
    assert (result["type"], result["job_id"], code) == ("result", job_id, 1000)


def test_a_picture_may_be_as_large_as_in_a_body(app, open_stream, worker):
    budget: Budget = app.extensions["cyberimage"].large_bodies
    sent = json.dumps({"prompt": "a fox", "image": large_picture()})
    assert len(sent) > 1_500_000
    with open_stream("/stream/generate/img2img") as connection:
        connection.send(sent)
        assert hear(connection)["type"] == "progress"
        assert budget._free == budget.total  # the room is free again while the job runs
        worker.finish()
        assert hear_end(connection)[0]["type"] == "result"


def test_a_large_picture_waits_for_room_in_memory(app, open_stream, context):
    here = app.extensions["cyberimage"]
    here.large_bodies = Budget(10**9, most_waiting=1, timeout=0)
    with here.large_bodies.taking(10**9), open_stream("/stream/generate/img2img") as connection:
        connection.send(json.dumps({"prompt": "a fox", "image": large_picture()}))
        error, _ = hear_end(connection)
    assert (error["type"], error["code"]) == ("error", "unavailable")
    assert not context.jobs.count_pending()


@pytest.mark.parametrize(("body", "field"), [({"prompt": "x"}, "image"), ({"prompt": "x", "image": "none"}, "image")])
def test_what_is_no_picture_is_refused(open_stream, body, field):
    with open_stream("/stream/generate/img2img") as connection:
        connection.send(json.dumps(body))
        error, _ = hear_end(connection)
    assert (error["type"], [one["field"] for one in error["errors"]]) == ("error", [field])


@pytest.mark.parametrize("way", ["txt2img", "img2img"])
def test_a_webhook_is_told_of_the_end(open_stream, worker, client, way):
    body = {"prompt": "a fox", "webhook_url": "http://127.0.0.1:9/hook"}
    with open_stream(f"/stream/generate/{way}") as connection:
        connection.send(json.dumps(body | ({"image": picture()} if way == "img2img" else {})))
        job_id = hear(connection)["job_id"]
        worker.finish()
        assert hear_end(connection)[0]["type"] == "result"
    (delivery,) = client.get(f"/api/webhooks/deliveries?job_id={job_id}").json["deliveries"]
    assert delivery["receiver"] == "http://127.0.0.1:9"


def test_a_webhook_in_a_flat_body(client, worker):
    body = {"prompt": "a fox", "timeout": 0, "webhook_url": "http://127.0.0.1:9/hook"}
    job_id = client.post("/v1/txt2img", json=body).json["job_id"]
    worker.finish()
    assert len(client.get(f"/api/webhooks/deliveries?job_id={job_id}").json["deliveries"]) == 1
