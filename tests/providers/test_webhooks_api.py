"""Replicate's webhooks: verified by signature, harmless if late or repeated, unusable by others."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient
from standardwebhooks import Webhook

from app import create_app
from tests.providers.client import completed, run
from tests.providers.replicate_server import SECRET, Prediction, Script, StandIn
from tests.waiting import wait_until
from tests.worker.harness import Harness


@pytest.fixture
def hooked(
    new_harness: Callable[..., Harness], settings: dict[str, str], provider: StandIn, start_worker, monkeypatch
) -> Hooked:
    """A worker that gets reports by webhook only, and a provider whose messages the test delivers."""
    monkeypatch.setattr("app.engines.replicate.poll.POLL_PAUSES_WITH_WEBHOOK", (3600.0,))
    harness = new_harness(**settings, PUBLIC_URL="https://pictures.example")
    start_worker(harness)
    return Hooked(harness, create_app(harness.context.settings).test_client(), provider)


class Hooked:
    def __init__(self, harness: Harness, client: FlaskClient, provider: StandIn) -> None:
        self.harness = harness
        self.client = client
        self.provider = provider
        provider.deliver = self.deliver  # type: ignore[method-assign]

    def run(self, prompt: str) -> tuple[str, Prediction]:
        self.provider.scripts.setdefault(prompt, Script(webhooks=()))
        job_id = run(self.client, prompt=prompt)
        wait_until(lambda: self.provider.created_for(prompt), "it was never asked")
        (made,) = self.provider.created_for(prompt)
        assert made.webhook is not None
        wait_until(lambda: made.status in ("succeeded", "failed"), "it never ended")
        return job_id, made

    def deliver(self, url: str, text: str, *, secret: str = SECRET, at: float | None = None) -> int:
        when = datetime.fromtimestamp(at or time.time(), UTC)
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(when.timestamp())),
            "webhook-signature": Webhook(secret).sign("msg_1", when, text),
            "Content-Type": "application/json",
            "Host": "pictures.example",
        }
        path = url.removeprefix("https://pictures.example")
        return self.client.post(path, data=text, headers=headers).status_code


def test_a_webhook_ends_it(hooked: Hooked) -> None:
    job_id, made = hooked.run("told")
    assert hooked.client.get(f"/api/status/{job_id}").json["status"] == "PROCESSING"
    assert hooked.provider.send_webhook(made, "end") == 200
    completed(hooked.client, job_id)
    assert ("GET", f"/v1/predictions/{made.id}") not in hooked.provider.asked


def test_webhooks_twice_late_and_out_of_order(hooked: Hooked) -> None:
    job_id, made = hooked.run("often")
    statuses = [hooked.provider.send_webhook(made, what) for what in ("end", "starting", "processing", "end", "end")]
    assert statuses == [200] * 5
    before = completed(hooked.client, job_id)
    assert len(hooked.provider.fetched) == 1
    assert hooked.provider.send_webhook(made, "processing") == 200
    made.status, made.script.error = "failed", "changed its mind"
    assert hooked.provider.send_webhook(made, "end") == 200
    assert completed(hooked.client, job_id) == before


def test_webhook_and_poll_together_fetch_once(hooked: Hooked, monkeypatch) -> None:
    monkeypatch.setattr("app.engines.replicate.poll.POLL_PAUSES_WITH_WEBHOOK", (0.01,))
    for number in range(5):
        job_id, made = hooked.run(f"race {number}")
        threads = [threading.Thread(target=hooked.provider.send_webhook, args=(made, "end")) for _ in range(4)]
        for thread in threads:
            thread.start()
        completed(hooked.client, job_id)
        for thread in threads:
            thread.join()
    assert len(hooked.provider.fetched) == 5


def test_a_webhook_brings_the_id_that_a_crash_lost(hooked: Hooked) -> None:
    context = hooked.harness.context
    hooked.provider.scripts["lost"] = Script(webhooks=())
    job_id = run(hooked.client, prompt="lost")
    wait_until(lambda: context.predictions.of_job(job_id), "never intended")
    prediction = context.predictions.of_job(job_id)
    assert prediction is not None
    url = f"https://pictures.example/api/webhooks/replicate?prediction={prediction.id}"
    early = {"id": "early", "status": "starting", "input": {}}
    assert hooked.deliver(url, json.dumps(early)) in (200, 404)  # 404: the worker was quicker
    assert hooked.deliver(url, json.dumps(early | {"id": "another"})) == 404


@pytest.mark.parametrize("what", ["another key", "too old", "of the future", "changed", "unsigned", "nonsense"])
def test_messages_that_are_not_believed(hooked: Hooked, what: str) -> None:
    job_id, made = hooked.run("forged")
    body = json.dumps(made.body(hooked.provider))
    before = hooked.client.get(f"/api/status/{job_id}").json["remote"]
    answers = {
        "another key": lambda: hooked.deliver(made.webhook, body, secret="whsec_" + "WFla" * 10),
        "too old": lambda: hooked.deliver(made.webhook, body, at=time.time() - 400),
        "of the future": lambda: hooked.deliver(made.webhook, body, at=time.time() + 400),
        "changed": lambda: (
            hooked.client.post(
                "/api/webhooks/replicate",
                data=body,
                headers={"webhook-id": "m", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,AAAA"},
            ).status_code
        ),
        "unsigned": lambda: hooked.client.post("/api/webhooks/replicate", data=body).status_code,
        "nonsense": lambda: (
            hooked.client.post(
                "/api/webhooks/replicate", data=b"\xff", headers={"webhook-signature": "x", "webhook-timestamp": "y"}
            ).status_code
        ),
    }
    assert answers[what]() == 401
    assert hooked.client.get(f"/api/status/{job_id}").json["remote"] == before
    assert hooked.provider.send_webhook(made, "end") == 200
    completed(hooked.client, job_id)


def test_what_is_not_ours_leaves_no_trace(hooked: Hooked, caplog) -> None:
    url = "https://pictures.example/api/webhooks/replicate"
    text = json.dumps({"id": "of another account", "status": "succeeded", "output": None})
    assert hooked.deliver(url, text) == 404
    assert hooked.deliver(f"{url}?prediction={'0' * 32}", text) == 404
    assert hooked.deliver(url, json.dumps({"hello": "world"})) == 400
    assert "of another account" not in caplog.text
    assert hooked.harness.context.predictions.taken("replicate", ["of another account"]) == set()


def test_the_key_is_asked_for_when_none_is_set(new_harness, settings: dict[str, str], provider: StandIn) -> None:
    harness = new_harness(**settings | {"REPLICATE_WEBHOOK_SECRET": ""}, PUBLIC_URL="https://pictures.example")
    hooked = Hooked(harness, create_app(harness.context.settings).test_client(), provider)
    text = json.dumps({"id": "x", "status": "succeeded"})
    for _ in range(2):
        assert hooked.deliver("https://pictures.example/api/webhooks/replicate", text) == 404
    assert provider.asked.count(("GET", "/v1/webhooks/default/secret")) == 1
