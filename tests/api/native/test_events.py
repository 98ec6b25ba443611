"""Server-sent events: what a listener hears, and when the stream ends."""

from __future__ import annotations

import base64
import json

import pytest
from sqlalchemy import text

from app.api.server import event_streams, followed
from app.services.jobs.status import view
from app.store.queue.previews import Preview
from tests.waiting import wait_until


def parse(text: str) -> list[dict]:
    """The events of a stream, as an EventSource would see them."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append({"event": fields["event"], "id": int(fields.get("id", 0)), **json.loads(fields["data"])})
    return found


@pytest.fixture
def listen(client):
    def start(job_id: str, last_event_id: int | None = None):
        headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
        return client.get(f"/api/jobs/{job_id}/events", headers=headers)

    return start


def test_a_whole_life_live(submit, worker, listen):
    job_id = submit(settings={"num_inference_steps": 8})
    answer = listen(job_id)
    assert answer.mimetype == "text/event-stream"
    assert answer.headers["X-Accel-Buffering"] == "no"
    chunks = (chunk.decode() for chunk in answer.response)
    assert next(chunks).startswith("retry: ")
    heard = parse(next(chunks))
    claim = worker.claim()
    worker.progress(claim, 3)
    heard += parse(next(chunks))
    worker.progress(claim, 6)
    heard += parse(next(chunks))
    worker.finish(claim)
    heard += parse("".join(chunks))  # ends by itself
    assert [(one["event"], one["status"]) for one in heard] == [
        ("status", "PENDING"),
        ("status", "PROCESSING"),
        ("progress", "PROCESSING"),
        ("status", "COMPLETED"),
    ]
    assert (heard[2]["step"], heard[2]["total_steps"], heard[2]["percent"]) == (6, 8, 73)
    assert len(heard[3]["images"]) == 1
    ids = [one["id"] for one in heard]
    assert ids == sorted(set(ids))


def test_a_listener_that_comes_back_hears_only_what_is_new(submit, worker, listen):
    job_id = submit()
    seen = parse(next(iter_after_retry(listen(job_id))))[0]["id"]
    worker.finish()
    assert [one["status"] for one in parse(listen(job_id, seen).text)] == ["COMPLETED"]


def iter_after_retry(answer):
    chunks = (chunk.decode() for chunk in answer.response)
    next(chunks)
    return chunks


def test_a_listener_that_heard_the_end_is_told_to_stop(submit, worker, listen):
    job_id = submit()
    worker.finish()
    last = parse(listen(job_id).text)[-1]["id"]
    assert listen(job_id, last).status_code == 204
    assert listen(job_id, last + 1000).status_code == 204


@pytest.mark.parametrize("nonsense", ["", "x", "-1", "9" * 50, "²"])
def test_a_last_event_id_that_is_none(client, submit, worker, nonsense):
    job_id = submit()
    worker.fail()
    answer = client.get(f"/api/jobs/{job_id}/events", headers={"Last-Event-ID": nonsense.encode().decode("latin-1")})
    assert parse(answer.text)[-1]["status"] == "FAILED"


def test_silence_is_broken_by_comments(submit, listen, monkeypatch):
    monkeypatch.setattr(event_streams, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(event_streams, "HEARTBEAT_SECONDS", 0.0)
    chunks = iter_after_retry(listen(submit()))
    next(chunks)
    assert next(chunks).startswith(":")


def test_a_stream_holds_no_database_connection_and_gives_its_place_back(app, submit, listen, context):
    here = app.extensions["cyberimage"]
    answer = listen(submit())
    next(iter_after_retry(answer))
    assert context.database.engine.pool.checkedout() == 0
    assert here.stream_hub.open_streams == 1
    answer.close()
    wait_until(lambda: here.stream_hub.open_streams == 0, "the place was not given back")
    assert not here.stream_hub._listeners
    assert not here.stream_hub._revisions


def test_a_client_that_is_gone_at_once_gives_its_place_back(app, submit, listen):
    here = app.extensions["cyberimage"]
    for reads_the_head in (True, False):
        answer = listen(submit())
        assert here.stream_hub.open_streams == 1
        if reads_the_head:
            next(answer.response)
        answer.close()
        assert here.stream_hub.open_streams == 0


def test_too_many_streams_are_refused(app, submit, listen, problem):
    app.extensions["cyberimage"].stream_hub._max_listeners = 1
    job_id = submit()
    first = listen(job_id)
    refused = listen(job_id)
    problem(refused, 503, "unavailable")
    assert refused.headers["Retry-After"]
    first.close()
    assert listen(job_id).status_code == 200


def test_many_listeners_hear_the_same_and_the_job_is_read_once(submit, worker, listen, monkeypatch):
    reads = []
    monkeypatch.setattr(followed, "job_view", lambda *args: reads.append(args[1]) or view(*args))
    job_id = submit()
    streams = [iter_after_retry(listen(job_id)) for _ in range(20)]
    first = [next(stream) for stream in streams]
    assert len(set(first)) == 1
    reads.clear()
    worker.finish()
    last = [parse("".join(stream)) for stream in streams]
    assert [heard[-1]["status"] for heard in last] == ["COMPLETED"] * 20
    assert len(reads) < 10


def test_who_does_not_read_is_told_the_newest_state_later_and_holds_up_nobody(submit, worker, listen, context):
    job_id = submit(settings={"num_inference_steps": 30})
    lazy, eager = iter_after_retry(listen(job_id)), iter_after_retry(listen(job_id))
    next(lazy), next(eager)
    claim = worker.claim()
    for step in range(1, 31):
        context.previews.put(job_id, Preview(claim.attempt, step, bytes(100_000)))
        worker.progress(claim, step)
        wait_until(lambda step=step: parse(next(eager))[-1].get("step") == step, "the eager one heard nothing")
    worker.finish(claim)
    assert parse("".join(eager))[-1]["status"] == "COMPLETED"
    heard = parse("".join(lazy))
    assert heard[-1]["status"] == "COMPLETED"
    assert len([one for one in heard if one["event"] == "preview"]) < 30


def test_a_job_that_is_removed_ends_its_streams(submit, worker, listen, context, client):
    job_id = submit()
    chunks = iter_after_retry(listen(job_id))
    next(chunks)
    with context.database.write() as connection:
        connection.execute(text("DELETE FROM jobs"))
    assert "event: problem" in "".join(chunks)


def test_a_stream_ends_when_the_server_stops(app, submit, listen):
    chunks = iter_after_retry(listen(submit()))
    next(chunks)
    app.extensions["cyberimage"].draining.set()
    assert not list(chunks)


def test_previews_come_with_the_progress_and_each_once(submit, worker, listen, context):
    job_id = submit(settings={"num_inference_steps": 8})
    claim = worker.claim()
    context.previews.put(job_id, Preview(claim.attempt, 3, b"a picture"))
    worker.progress(claim, 3)
    chunks = (chunk.decode() for chunk in listen(job_id).response)
    heard = [next(chunks) for _ in range(3)]
    assert heard[2].startswith("event: preview\n")
    shown = json.loads(heard[2].split("data: ", 1)[1])
    assert shown == {"step": 3, "image": "data:image/webp;base64," + base64.b64encode(b"a picture").decode()}
    worker.progress(claim, 4)
    worker.finish(claim)
    assert "event: preview" not in "".join(chunks)
