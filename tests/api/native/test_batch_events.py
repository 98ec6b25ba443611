"""The event stream of a batch: what it says, when it ends, and what a client that comes back is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.api.server import event_streams
from app.services.batches.life import keep_up
from tests.waiting import wait_until

BODY: dict[str, Any] = {"prompt": "a {cat|dog|hen}", "settings": {"seed": 5, "width": 128, "height": 128}}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(event_streams, "POLL_SECONDS", 0.02)


@pytest.fixture
def batch_id(client) -> str:
    return client.post("/api/batches", json=BODY).json["batch_id"]


@pytest.fixture
def listen(client):
    """Open the stream; it is closed at the end."""
    opened = []

    def start(batch_id: str, seen: str | None = None):
        headers = {} if seen is None else {"Last-Event-ID": seen}
        opened.append(client.get(f"/api/batches/{batch_id}/events", headers=headers))
        return opened[-1]

    yield start
    for answer in opened:
        answer.close()


def parse(text: str) -> list[dict[str, Any]]:
    """The events, with their ids and names."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "data" in fields:
            found.append({**json.loads(fields["data"]), "event_id": fields.get("id"), "event": fields["event"]})
    return found


def test_the_events_of_a_batch_from_its_first_job_to_its_last(client, batch_id, listen, worker):
    assert client.get(f"/api/batches/{batch_id}").json["events_url"] == f"/api/batches/{batch_id}/events"
    chunks = (chunk.decode() for chunk in listen(batch_id).response)
    seen = []
    for expected in (0, 33, 66, 100):
        while not seen or seen[-1]["percent"] < expected:
            seen += parse(next(chunks))
        assert seen[-1]["percent"] == expected
        if expected < 100:
            worker.finish()
    assert list(chunks) == []  # it ends with the batch
    assert seen[0]["status"] == "RUNNING"
    assert seen[0]["counts"]["PENDING"] == 3
    assert seen[-1]["status"] == "ENDED"
    assert seen[-1]["counts"]["COMPLETED"] == 3
    assert {each["event"] for each in seen} == {"status"}
    assert len({each["event_id"] for each in seen}) == len(seen)
    assert "places" not in seen[0]
    assert "eta_seconds" in seen[0]


def test_a_client_that_has_seen_the_end_is_told_to_stop_and_one_that_has_not_is_told_the_end(batch_id, listen, worker):
    for _ in range(3):
        worker.finish()
    (last,) = parse(listen(batch_id).text)
    assert listen(batch_id, last["event_id"]).status_code == 204
    assert [each["status"] for each in parse(listen(batch_id, "RUNNING-3-0-0-0-0-3-0-on").text)] == ["ENDED"]


@pytest.mark.parametrize("nonsense", ["", "1", "ENDED", "x" * 5000])
def test_a_last_event_id_that_is_none_hides_nothing(batch_id, listen, worker, nonsense):
    for _ in range(3):
        worker.finish()
    assert [each["status"] for each in parse(listen(batch_id, nonsense).text)] == ["ENDED"]


def test_pausing_is_an_event_and_a_batch_that_goes_on_is_followed_anew(client, batch_id, listen, worker):
    chunks = (chunk.decode() for chunk in listen(batch_id).response)
    seen = parse(next(chunks) + next(chunks))
    client.post(f"/api/batches/{batch_id}/pause")
    while seen[-1]["status"] != "PAUSED":
        seen += parse(next(chunks))
    client.post(f"/api/batches/{batch_id}/cancel")
    while seen[-1]["status"] != "ENDED":
        seen += parse(next(chunks))
    assert seen[-1]["stopped"] == "cancelled"
    client.post(f"/api/batches/{batch_id}/retry-failed", json={"cancelled": True})
    assert parse(next(chunk.decode() for chunk in listen(batch_id, seen[-1]["event_id"]).response if b"data" in chunk))


def test_a_batch_that_is_removed_meanwhile_ends_its_stream_with_the_reason(context, batch_id, listen, worker):
    chunks = (chunk.decode() for chunk in listen(batch_id).response)
    next(chunks), next(chunks)
    with context.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM jobs")
        connection.exec_driver_sql("DELETE FROM batches")
    (last,) = parse("".join(chunks))
    assert last["event"] == "problem"
    assert last["code"] == "batch_not_found"


def test_a_stream_of_a_batch_gives_its_place_back(app, batch_id, listen, context):
    hub = app.extensions["cyberimage"].stream_hub
    answer = listen(batch_id)
    next(answer.response), next(answer.response)
    assert hub.open_streams == 1
    assert context.database.engine.pool.checkedout() == 0
    answer.close()
    wait_until(lambda: hub.open_streams == 0, "the place was not given back")
    assert not hub._listeners
    assert not hub._revisions


def test_a_job_names_its_batch(client, batch_id, worker, context):
    places = client.get(f"/api/batches/{batch_id}").json["places"]
    found = [client.get(f"/api/status/{place['job_id']}").json for place in places]
    assert [(each["batch_id"], each["batch_place"]) for each in found] == [(batch_id, place) for place in range(3)]
    keep_up(context)
    single = client.post("/api/generate", json={"prompt": "x"}).json["job_id"]
    assert client.get(f"/api/status/{single}").json["batch_id"] is None
