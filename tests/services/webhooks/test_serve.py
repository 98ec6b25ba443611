"""The server process starts the dispatcher, and lets it finish at shutdown."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook

from tests.server.test_gunicorn_app import start, wait_for
from tests.services.webhooks.conftest import SECRET, eventually
from tests.services.webhooks.receiver import Receiver
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("serve")]


def test_the_server_delivers_and_stops_cleanly(tmp_path: Path, receiver: Receiver) -> None:
    process = start(tmp_path, WEBHOOK_ALLOW_PRIVATE="true", WEBHOOK_SECRET=SECRET)
    try:
        wait_for(process)
        body = {"prompt": "a boat", "webhook_url": receiver.url("/made")}
        job_id = httpx.post(f"{process.url}/api/generate", json=body).json()["job_id"]
        cancelled = httpx.post(f"{process.url}/api/jobs/{job_id}/cancel").json()
        eventually(lambda: receiver.calls)
        message = Webhook(SECRET).verify(receiver.calls[0].body, receiver.calls[0].headers)
        assert (message["type"], message["data"]) == ("job.cancelled", cancelled)
    finally:
        process.terminate()
        status = process.wait(PATIENCE)
    assert status == 0
