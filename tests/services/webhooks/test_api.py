"""Webhooks over HTTP: allowed `webhook_url`s, the message, listing and replaying deliveries."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.config import load_settings
from app.errors import ConfigurationError
from app.services.webhooks.dispatcher import WebhookDispatcher
from tests.services.webhooks.conftest import SECRET, Harness, eventually
from tests.services.webhooks.receiver import Receiver

PUBLIC = "https://hooks.example/made?key=s3cret"


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[FlaskClient, Harness]]:
    settings = load_settings(
        {},
        None,
        database_url=f"sqlite:///{tmp_path / 'queue.db'}",
        images_dir=tmp_path / "images",
        disk_floor_bytes=0,
        webhook_secret=SECRET,
        webhook_allow_private=getattr(request, "param", False),
    )
    app = create_app(settings)
    harness = Harness(app.extensions["cyberimage"].context)
    yield app.test_client(), harness
    harness.context.close()


def generate(client: FlaskClient, url: object, **headers: str) -> tuple[int, dict[str, object]]:
    answer = client.post("/api/generate", json={"prompt": "a boat", "webhook_url": url}, headers=headers)
    return answer.status_code, answer.get_json()


@pytest.mark.parametrize("server", [True], indirect=True)
def test_the_message_is_equal_to_the_status(
    server: tuple[FlaskClient, Harness], receiver: Receiver, start_dispatcher: Callable[[Harness], WebhookDispatcher]
) -> None:
    client, harness = server
    status, accepted = generate(client, receiver.url())
    assert status == 202
    harness.store.complete(harness.store.claim())
    start_dispatcher(harness)
    eventually(lambda: receiver.calls)
    data = json.loads(receiver.calls[0].body)["data"]
    assert data == client.get(str(accepted["status_url"])).get_json()
    assert len(data["images"]) == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example",
        "ftp://hooks.example/",
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://[::1]:80/",
        "http://localhost/",
        "http://me:pw@hooks.example/",
        "https://hooks.example/" + "x" * 2048,
        7,
        ["x"],
    ],
)
def test_what_is_no_public_address_is_refused_by_name(server: tuple[FlaskClient, Harness], url: object) -> None:
    client, harness = server
    status, problem = generate(client, url)
    assert (status, problem["code"]) == (400, "invalid_request")
    assert [error["field"] for error in problem["errors"]] == ["webhook_url"]  # type: ignore[attr-defined]
    assert harness.store.jobs.count_pending() == 0


def test_the_longest_url_is_accepted(server: tuple[FlaskClient, Harness]) -> None:
    url = "https://hooks.example/"
    assert generate(server[0], url + "x" * (2048 - len(url)))[0] == 202


def test_one_key_with_another_webhook_is_a_conflict(server: tuple[FlaskClient, Harness]) -> None:
    client, _ = server
    first = generate(client, PUBLIC, **{"Idempotency-Key": "k"})
    assert generate(client, PUBLIC, **{"Idempotency-Key": "k"}) == first
    status, problem = generate(client, "https://hooks.example/other", **{"Idempotency-Key": "k"})
    assert (status, problem["code"]) == (422, "idempotency_conflict")


def test_deliveries_are_listed_without_the_secrets_of_their_urls(server: tuple[FlaskClient, Harness]) -> None:
    client, harness = server
    jobs = [harness.finish(PUBLIC) for _ in range(3)]
    page = client.get("/api/webhooks/deliveries?limit=2").get_json()
    assert [delivery["job_id"] for delivery in page["deliveries"]] == jobs[:0:-1]
    last = client.get(f"/api/webhooks/deliveries?limit=2&cursor={page['next_cursor']}").get_json()
    assert [delivery["job_id"] for delivery in last["deliveries"]] == jobs[:1]
    assert last["next_cursor"] is None
    (found,) = client.get(f"/api/webhooks/deliveries?job_id={jobs[1]}").get_json()["deliveries"]
    assert (found["job_id"], found["state"], found["event"]) == (jobs[1], "PENDING", "job.completed")
    assert found["receiver"] == "https://hooks.example"
    assert "s3cret" not in json.dumps([page, last])
    assert client.get("/api/webhooks/deliveries?state=DEAD").get_json()["deliveries"] == []
    assert len(client.get("/api/webhooks/deliveries?state=pending").get_json()["deliveries"]) == 3
    for query in ("state=lost", "limit=0", "limit=201", "cursor=0", "cursor=x", "color=red"):
        assert client.get(f"/api/webhooks/deliveries?{query}").status_code == 400, query


def test_a_delivery_can_be_sent_again(server: tuple[FlaskClient, Harness]) -> None:
    client, harness = server
    delivery = harness.only(harness.finish(PUBLIC))
    claimed = harness.webhooks.claim(lease_seconds=60)
    assert claimed is not None
    harness.webhooks.failed(claimed, "the receiver answered 410", response_status=410, retry_in=None)
    answer = client.post(f"/api/webhooks/deliveries/{delivery.id}/replay")
    assert (answer.status_code, answer.get_json()["state"]) == (200, "PENDING")
    again = harness.webhooks.claim(lease_seconds=60)
    assert again is not None
    assert again.id == delivery.id
    for unknown in ("0" * 32, "x"):
        answer = client.post(f"/api/webhooks/deliveries/{unknown}/replay")
        assert (answer.status_code, answer.get_json()["code"]) == (404, "delivery_not_found")


BAD_SECRETS = ["secret", "whsec_", "whsec_AAAA", "whsec_" + "ä" * 40, "x" + SECRET, SECRET + " whsec_AAAA"]


@pytest.mark.parametrize("secret", BAD_SECRETS)
def test_a_bad_secret_is_a_configuration_error_that_does_not_show_it(secret: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_settings({"WEBHOOK_SECRET": secret}, None)
    (problem,) = raised.value.problems
    assert problem.startswith("WEBHOOK_SECRET: use whsec_")
    assert secret not in problem.removeprefix("WEBHOOK_SECRET: use whsec_") or secret == "whsec_"
