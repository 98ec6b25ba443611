"""The server process starts the dispatcher, and lets it finish at shutdown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.node.packages import require_packages, run_node
from tests.server.test_gunicorn_app import start, wait_for
from tests.services.webhooks.conftest import SECRET, eventually
from tests.services.webhooks.receiver import Call, receiving
from tests.waiting import PATIENCE

NEW_SECRET, OTHER_SECRET = "whsec_" + "REVG" * 10, "whsec_" + "R0hJ" * 10
pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("serve")]


VERIFY = """
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const [secret, headers] = process.argv.slice(2);
const message = new Webhook(secret).verify(readFileSync("body"), JSON.parse(headers));
console.log(message.type);
"""


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """The delivered message about a job that was cancelled, signed with two secrets."""
    with receiving() as receiver:
        process = start(
            tmp_path_factory.mktemp("served"), WEBHOOK_ALLOW_PRIVATE="true", WEBHOOK_SECRET=f"{NEW_SECRET} {SECRET}"
        )
        try:
            wait_for(process)
            body = {"prompt": "a boat", "webhook_url": receiver.url("/made")}
            job_id = httpx.post(f"{process.url}/api/generate", json=body).json()["job_id"]
            cancelled = httpx.post(f"{process.url}/api/jobs/{job_id}/cancel").json()
            eventually(lambda: receiver.calls)
            assert json.loads(receiver.calls[0].body)["data"] == cancelled
            yield receiver.calls[0]
        finally:
            process.terminate()
            status = process.wait(PATIENCE)
        assert status == 0, "the server did not stop cleanly"


@pytest.fixture
def signed(call: Call) -> dict[str, str]:
    """The headers of Standard Webhooks."""
    return {name: value for name, value in call.headers.items() if name.startswith("webhook-")}


def test_the_library_for_python_verifies_it_by_the_new_and_the_old_secret(call: Call, signed: dict[str, str]) -> None:
    for secret in (NEW_SECRET, SECRET):
        assert Webhook(secret).verify(call.body, signed)["type"] == "job.cancelled"
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER_SECRET).verify(call.body, signed)


def test_the_library_for_javascript_does_too(call: Call, signed: dict[str, str], tmp_path: Path) -> None:
    require_packages()
    (tmp_path / "verify.mjs").write_text(VERIFY)
    (tmp_path / "body").write_bytes(call.body)
    said = {
        secret: run_node("verify.mjs", secret, json.dumps(signed), folder=tmp_path)
        for secret in (NEW_SECRET, SECRET, OTHER_SECRET)
    }
    assert [said[secret].stdout for secret in (NEW_SECRET, SECRET)] == ["job.cancelled\n"] * 2
    assert "WebhookVerificationError" in said[OTHER_SECRET].stderr
