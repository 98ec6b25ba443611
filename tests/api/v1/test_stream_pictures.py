"""Pictures from pictures over the WebSocket, and its webhooks."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from PIL import Image
from websockets.sync.client import connect
from wsproto import WSConnection

from app import create_app
from app.api.server.websocket_socket import FREE_BYTES, WebSocketTransport
from app.api.v1 import stream
from app.core.budget import Budget
from tests.api.v1.test_img2img import MODEL, picture
from tests.api.v1.test_stream import hear, hear_end
from tests.server.serving import served
from tests.waiting import PATIENCE, wait_until


@pytest.fixture
def app(settings_in, tmp_path):
    lines = {"model_lines": {"MODEL_T": MODEL}, "default_model_id": "tiny", "webhook_allow_private": True}
    app = create_app(settings_in(tmp_path, **lines))
    yield app
    app.extensions["cyberimage"].close()


@pytest.fixture
def open_stream(app):
    with served(app) as address:
        yield lambda path, **options: connect(f"ws://{address}{path}", open_timeout=PATIENCE, **options)


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


@contextmanager
def full(here) -> Iterator[None]:
    """No room for large bodies."""
    here.large_bodies = Budget(10**9, most_waiting=1, timeout=0)
    with here.large_bodies.taking(10**9):
        yield


@pytest.fixture
def read_sizes(monkeypatch) -> list[int]:
    """The lengths of what was taken into memory of all clients' messages."""
    sizes: list[int] = []
    decode = WSConnection.receive_data

    def receive_data(self, data: bytes) -> None:
        sizes.append(len(data))
        decode(self, data)

    monkeypatch.setattr(WSConnection, "receive_data", receive_data)
    return sizes


@contextmanager
def stalled(open_stream, number: int) -> Iterator[None]:
    """Clients that sent a part of a large message, and then wait."""
    with ExitStack() as stack:
        for _ in range(number):
            connection = stack.enter_context(open_stream("/stream/generate/img2img"))
            connection.socket.sendall(frame(b'{"prompt": "x", "image": "' + b"A" * 200_000, opcode=1, is_final=False))
            stack.callback(break_off, connection.socket)
        yield


def break_off(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the server may have ended it
        connection.shutdown(socket.SHUT_RDWR)


def frame(payload: bytes, opcode: int, is_final: bool = True) -> bytes:
    """Masked with zeros, as a client's."""
    first = opcode | (0x80 if is_final else 0)
    if len(payload) < 126:
        return struct.pack("!BBI", first, 0x80 | len(payload), 0) + payload
    return struct.pack("!BBQI", first, 0xFF, len(payload), 0) + payload


def test_messages_are_not_compressed(open_stream):
    """Few compressed bytes would unpack to more than there is room for."""
    with open_stream("/stream/generate/img2img", compression="deflate") as connection:
        assert not connection.protocol.extensions


def test_a_message_without_room_is_not_kept(app, open_stream, read_sizes, monkeypatch):
    monkeypatch.setattr(stream, "HANG_UP_SECONDS", 0.5)
    with full(app.extensions["cyberimage"]), open_stream("/stream/generate/img2img") as connection:
        connection.socket.sendall(frame(b"A" * 500_000, opcode=1))
        error = hear(connection)
        with contextlib.suppress(OSError):  # the connection may have ended
            for _ in range(20):
                connection.socket.sendall(frame(b"A" * 500_000, opcode=1))
        assert hear_end(connection)[1] == 1000
    assert error["code"] == "unavailable"
    assert sum(read_sizes) < 100_000


def test_nothing_is_kept_after_a_refusal(open_stream, read_sizes, monkeypatch):
    monkeypatch.setattr(stream, "HANG_UP_SECONDS", 0.5)
    with open_stream("/stream/generate/img2img") as connection:
        connection.send("{}")
        assert hear(connection)["code"] == "invalid_request"
        with contextlib.suppress(OSError):
            connection.socket.sendall(frame(b"A" * 5_000_000, opcode=1, is_final=False))
        hear_end(connection)
    assert sum(read_sizes) < 2_000_000  # until it hung up


@pytest.fixture
def transports(monkeypatch) -> list[WebSocketTransport]:
    made = []

    def make(*of) -> WebSocketTransport:
        made.append(WebSocketTransport(*of))
        return made[-1]

    monkeypatch.setattr(stream, "WebSocketTransport", make)
    return made


@pytest.mark.parametrize("number", [2, 8])
def test_clients_that_stall_take_no_room(client, open_stream, transports, number):
    with stalled(open_stream, number):
        wait_until(
            lambda: len(transports) == number and all(one.received > FREE_BYTES for one in transports),
            "nothing was received",
        )
        body = {"prompt": "a fox", "image": large_picture(), "settings": {"strength": 0.5}}
        answer = client.post("/api/generate", json=body)
    assert answer.status_code == 202, answer.text


def test_a_large_message_may_have_many_frames(open_stream, worker):
    text = json.dumps({"prompt": "a fox", "image": large_picture()}).encode()
    text += b" " * (-len(text) % 100_000)
    parts = [text[at : at + 100_000] for at in range(0, len(text), 100_000)]
    with open_stream("/stream/generate/img2img") as connection:
        for number, part in enumerate(parts):
            connection.socket.sendall(frame(part, opcode=0 if number else 1, is_final=number == len(parts) - 1))
            connection.socket.sendall(frame(b"are you there?", opcode=0xA))  # an unsolicited pong
        assert hear(connection)["type"] == "progress"
        worker.finish()
        assert hear_end(connection)[0]["type"] == "result"


def test_a_message_larger_than_a_body_may_be(open_stream, monkeypatch):
    monkeypatch.setattr(stream, "_picture_bytes", lambda _: 300_000)
    with open_stream("/stream/generate/img2img") as connection:
        connection.socket.sendall(frame(b"A" * 1_000_000, opcode=1, is_final=False))
        assert hear_end(connection)[0] is None
