"""Live progress of a generation, previews included, read by third-party clients."""

from __future__ import annotations

import base64
import io
import json

import httpx
import pytest
from httpx_sse import connect_sse
from PIL import Image
from websockets.sync.client import connect

from tests.e2e.service import Service

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("service")]
STEPS, SIDE = 50, 512  # long enough for previews, on a fast machine too
WISH = {"prompt": "a sunset over mountains", "model_id": "demo"}


def picture_of(data_uri: str) -> Image.Image:
    head, _, encoded = data_uri.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)))


def test_a_websocket_client(service: Service) -> None:
    url = f"ws://127.0.0.1:{service.environment['PORT']}/stream/generate/txt2img"
    with connect(url) as connection:
        connection.send(json.dumps({**WISH, "num_inference_steps": STEPS, "width": SIDE, "height": SIDE, "seed": 7}))
        heard = [json.loads(message) for message in connection]  # ends with the server's normal close
    *progress, result = heard
    assert result["type"] == "result", result
    with Image.open(io.BytesIO(base64.b64decode(result["image"]))) as picture:
        assert picture.size == (SIDE, SIDE)
    steps = [event["step"] for event in progress if event["status"] == "PROCESSING"]
    assert steps == sorted(steps)
    assert max(steps) > STEPS / 2
    assert any(0 < event["percent"] < 99 and event["seconds_per_step"] > 0 for event in progress)
    previews = [picture_of(event["preview"]) for event in progress if "preview" in event]
    assert 1 <= len(previews) == len({preview.tobytes() for preview in previews}) < len(progress)
    assert service.status(result["job_id"])["status"] == "COMPLETED"


def test_an_sse_client(service: Service) -> None:
    job_id = service.submit(WISH["prompt"], "demo", num_inference_steps=STEPS, width=SIDE, height=SIDE)
    with (
        httpx.Client(base_url=service.client.base_url, timeout=120) as client,
        connect_sse(client, "GET", f"/api/jobs/{job_id}/events") as source,
    ):
        heard = [(event.event, event.json()) for event in source.iter_sse()]
    assert {name for name, _ in heard} == {"status", "progress", "preview"}
    assert heard[-1][0] == "status"
    assert heard[-1][1]["status"] == "COMPLETED"
    progress = [data for name, data in heard if name == "progress"]
    assert any(event["seconds_per_step"] and event["total_steps"] == STEPS for event in progress)
    previews = [picture_of(data["image"]) for name, data in heard if name == "preview"]
    assert previews
