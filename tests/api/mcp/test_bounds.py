"""What a message may not do to the server."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from app import create_app
from app.files.images import reencode, webp_within
from tests.api.mcp.messages import SSE, ask, call, tool_error


@pytest.mark.parametrize("job_id", ["a\nb", "\u2603", "x" * 50])
@pytest.mark.parametrize("tool", ["get_generation", "cancel_generation"])
def test_what_is_no_id_is_no_job_and_takes_no_stream(client, app, tool, job_id):
    more = {"wait_seconds": 1} if tool == "get_generation" else {}
    answer = call(client, tool, SSE, job_id=job_id, **more)
    assert tool_error(answer)["code"] == "job_not_found"
    assert app.extensions["cyberimage"].stream_hub.open_streams == 0


def test_messages_that_are_none_count_as_requests(settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, rate_limit_read="3/hour"))
    client = app.test_client()
    for _ in range(3):
        assert ask(client, "no/such/method").status_code != 429
    assert ask(client, "no/such/method").status_code == 429
    app.extensions["cyberimage"].close()


def picture(size) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 80).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def test_a_picture_wider_than_webp_can_be_is_scaled_down():
    with Image.open(io.BytesIO(webp_within(picture((17_000, 10)), 100_000))) as small:
        assert small.width <= 1536
    with Image.open(io.BytesIO(reencode(picture((17_000, 10)), "webp", 80))) as whole:
        assert whole.width == 16_383
