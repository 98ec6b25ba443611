"""The WebSocket: a whole job live, going on with one, and what comes of everything that is not as it should be."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from app import create_app
from app.api.server import websocket_socket
from app.api.v1 import stream
from app.store.ops.api_keys import ApiKeyStore
from app.store.queue.previews import Preview
from tests.api.native.keyed import Keyed
from tests.server.serving import served
from tests.waiting import PATIENCE, wait_until

FLAT = {"prompt": "a red fox", "model_id": "demo", "num_inference_steps": 8}


@pytest.fixture
def address(app):
    with served(app) as address:
        yield address


@pytest.fixture
def open_stream(address):
    def start(prefix: str = "", **options):
        return connect(f"ws://{address}{prefix}/stream/generate/txt2img", open_timeout=PATIENCE, **options)

    return start


def hear(connection) -> dict:
    return json.loads(connection.recv(PATIENCE))


def say_much(connection) -> None:
    for _ in range(1000):
        connection.send("x" * 60_000)


def hear_end(connection) -> tuple[dict, int]:
    """The last message before the server closes, and the code it closes with."""
    heard = None
    while True:
        try:
            heard = hear(connection)
        except ConnectionClosed as closed:
            return heard, closed.rcvd.code if closed.rcvd is not None else 0


@pytest.mark.parametrize("prefix", ["", "/api/v1", "/v1"])
def test_a_whole_life_with_a_preview(open_stream, worker, context, prefix):
    with open_stream(prefix) as connection:
        connection.send(json.dumps({**FLAT, "seed": 7}))
        first = hear(connection)
        assert (first["type"], first["status"], first["position"], first["step"]) == ("progress", "PENDING", 1, 0)
        claim = worker.claim()
        context.previews.put(claim.job_id, Preview(claim.attempt, 3, b"a picture"))
        worker.progress(claim, 3)
        while (told := hear(connection)).get("step") != 3:
            assert "preview" not in told
        assert (told["total_steps"], told["percent"]) == (8, 36)
        assert told["preview"] == "data:image/webp;base64," + base64.b64encode(b"a picture").decode()
        worker.finish(claim)
        result, code = hear_end(connection)
    assert (result["type"], result["job_id"], result["seed"], code) == ("result", first["job_id"], 7, 1000)
    assert base64.b64decode(result["image"]).startswith(b"\x89PNG")


def test_going_away_cancels_nothing_and_coming_back_goes_on(app, open_stream, worker, context):
    here = app.extensions["cyberimage"]
    free = here.waiting_slots._value
    with open_stream() as connection:
        connection.send(json.dumps(FLAT))
        job_id = hear(connection)["job_id"]
    wait_until(lambda: here.waiting_slots._value == free, "the thread still waits for a client that has gone")
    assert context.jobs.get(job_id).status == "PENDING"
    with open_stream() as connection:
        connection.send(json.dumps({"job_id": job_id}))
        assert hear(connection)["job_id"] == job_id
        worker.finish()
        assert hear_end(connection)[0]["type"] == "result"
    with open_stream() as connection:  # also when it is long done
        connection.send(json.dumps({"job_id": job_id}))
        assert hear_end(connection)[0]["type"] == "result"


def test_a_job_that_fails(open_stream, worker):
    with open_stream() as connection:
        connection.send(json.dumps(FLAT))
        hear(connection)
        worker.fail()
        error, code = hear_end(connection)
    assert (error["type"], error["code"], error["status"], code) == ("error", "out_of_memory", 507, 1000)
    assert "smaller size" in error["message"]


@pytest.mark.parametrize(
    ("message", "code", "field"),
    [
        ("{", "invalid_request", None),
        ("[" * 10_000, "invalid_request", None),
        ("[]", "invalid_request", None),
        ("{}", "invalid_request", "prompt"),
        (b"\xff\x00", "invalid_request", None),
        (json.dumps({**FLAT, "width": 7, "height": 256}), "invalid_request", "width"),
        (json.dumps({**FLAT, "num_inference_steps": 500}), "invalid_request", "num_inference_steps"),
        (json.dumps({**FLAT, "seed": 7.5}), "invalid_request", "seed"),
        (json.dumps({**FLAT, "seed": True}), "invalid_request", "seed"),
        (json.dumps({**FLAT, "guidance_scale": float("inf")}), "invalid_request", "guidance_scale"),
        ('{"prompt": "x", "guidance_scale": 1e400}', "invalid_request", "guidance_scale"),
        (json.dumps({**FLAT, "lora_path": "\ud800"}), "invalid_request", "lora_path"),
        (json.dumps({**FLAT, "model_id": "a\0b"}), "invalid_request", "model_id"),
        (json.dumps({"job_id": "\ud800"}), "invalid_request", "job_id"),
        (json.dumps({"job_id": "0" * 32}), "job_not_found", None),
        (json.dumps({"job_id": 7}), "invalid_request", "job_id"),
        (json.dumps({**FLAT, "model_id": "none"}), "unknown_model", None),
    ],
)
def test_a_bad_first_message(open_stream, context, message, code, field):
    with open_stream() as connection:
        connection.send(message)
        error, closed = hear_end(connection)
    assert (error["type"], error["code"]) == ("error", code)
    assert closed == (1008 if code == "invalid_request" else 1000)
    if field:
        assert [one["field"] for one in error["errors"]] == [field]
    assert not context.jobs.count_pending()


def test_whole_floats_and_nulls(open_stream):
    with open_stream() as connection:
        connection.send(json.dumps({**FLAT, "seed": 7.0, "num_images": None, "negative_prompt": None}))
        assert hear(connection)["type"] == "progress"


def test_an_oversized_message(open_stream, context):
    with open_stream() as connection:
        connection.send("x" * 70_000)
        assert hear_end(connection) == (None, 1009)
    assert not context.jobs.count_pending()


def test_a_client_that_says_nothing(open_stream, monkeypatch):
    monkeypatch.setattr(stream, "FIRST_MESSAGE_SECONDS", 0.1)
    with open_stream() as connection:
        error, code = hear_end(connection)
    assert (error["code"], code) == ("invalid_request", 1008)
    assert "0.1 seconds" in error["message"]


def test_what_is_said_later_is_ignored(open_stream, worker):
    with open_stream() as connection:
        connection.send(json.dumps(FLAT))
        hear(connection)
        for _ in range(50):
            connection.send("and another thing")
        worker.finish()
        assert hear_end(connection)[0]["type"] == "result"


def test_a_client_that_does_not_stop_talking_is_cut_off(open_stream):
    """What it says is kept until somebody looks."""
    with open_stream() as connection:
        connection.send(json.dumps(FLAT))
        hear(connection)
        with pytest.raises(ConnectionClosed):
            say_much(connection)


def test_too_many_streams(app, open_stream, context):
    app.extensions["cyberimage"].waiting_slots = threading.BoundedSemaphore(1)
    app.extensions["cyberimage"].waiting_slots.acquire()
    with open_stream() as connection:
        error, code = hear_end(connection)
    assert (error["code"], code) == ("unavailable", 1013)


def test_a_server_that_stops_says_how_to_go_on(app, open_stream):
    with open_stream() as connection:
        connection.send(json.dumps(FLAT))
        job_id = hear(connection)["job_id"]
        app.extensions["cyberimage"].draining.set()
        error, code = hear_end(connection)
    assert (error["code"], code) == ("unavailable", 1012)
    assert job_id in error["message"]


def test_a_server_that_stops_waits_for_no_first_message(app, open_stream):
    with open_stream() as connection:
        app.extensions["cyberimage"].draining.set()
        error, code = hear_end(connection)
    assert (error["code"], code) == ("unavailable", 1012)


def test_pages_of_others_may_not_open_it(address, open_stream):
    with pytest.raises(InvalidStatus) as refused:
        open_stream(origin="http://evil.example")
    assert refused.value.response.status_code == 403
    open_stream(origin=f"http://{address}").close()


def test_with_keys_a_stream_needs_one_and_a_job_of_others_is_not_there(settings_in, tmp_path):
    keyed = Keyed(create_app(settings_in(tmp_path, auth_mode="keys")))
    with served(keyed.app) as address:

        def as_(name: str):
            headers = {"Authorization": f"Bearer {keyed.tokens[name]}"}
            return connect(f"ws://{address}/stream/generate/txt2img", additional_headers=headers)

        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://{address}/stream/generate/txt2img")
        assert refused.value.response.status_code == 401
        with as_("alice") as connection:
            connection.send(json.dumps(FLAT))
            job_id = hear(connection)["job_id"]
        assert keyed.context.jobs.get(job_id).client_id == keyed.ids["alice"]
        with as_("bob") as connection:
            connection.send(json.dumps({"job_id": job_id}))
            assert hear_end(connection)[0]["code"] == "job_not_found"
        with as_("root") as connection:
            connection.send(json.dumps({"job_id": job_id}))
            assert hear(connection)["job_id"] == job_id
        with as_("alice") as connection:
            connection.send(json.dumps({"job_id": job_id}))
            assert hear(connection)["job_id"] == job_id
            ApiKeyStore(keyed.context.database).revoke(1)
            assert hear_end(connection)[0]["code"] == "unauthorized"
    keyed.context.close()


def test_it_is_no_page(client, problem):
    problem(client.get("/stream/generate/txt2img"), 426, "upgrade_required")


def test_who_reads_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(websocket_socket, "SEND_TIMEOUT_SECONDS", 1)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = websocket_socket.WebSocketTransport(ours)
        started = time.monotonic()
        with pytest.raises(OSError):
            sender.send(b"x" * 50_000_000)
        assert time.monotonic() - started < PATIENCE


def test_frames_of_two_threads_do_not_mix():
    ours, theirs = socket.socketpair()
    sizes = {b"a": 3_000_000, b"b": 2_000_000}
    with ours, theirs:
        sender = websocket_socket.WebSocketTransport(ours)
        threads = [threading.Thread(target=sender.send, args=(mark * size,)) for mark, size in sizes.items()]
        for thread in threads:
            thread.start()
        received = bytearray()
        while len(received) < sum(sizes.values()):
            received += theirs.recv(1 << 20)
    first = received[:1]
    assert received.rstrip(received[-1:]) == bytes(first) * sizes[bytes(first)]


def test_a_second_pass_is_asked_for_and_refused_by_its_field(open_stream, context):
    with open_stream() as connection:
        connection.send(json.dumps({**FLAT, "upscale": {"factor": 2, "model": "lanczos", "steps": 4}}))
        first = hear(connection)
    assert first["total_steps"] == 8 + 2
    assert context.jobs.get(first["job_id"]).request.upscale.model == "lanczos"
    with open_stream() as connection:
        connection.send(json.dumps({**FLAT, "upscale": {"factor": 4}}))
        told, _ = hear_end(connection)
    assert told["type"] == "error"
    assert told["errors"][0]["field"] == "upscale.factor"
