"""More WebSockets than there are threads: most are refused at the handshake, and other clients are served."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack

import httpx
import pytest
from websockets.sync.client import connect

from tests.hostile.fuzz import STREAM
from tests.hostile.server import HostileServer
from tests.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NUMBER = 1_000
HANDSHAKE = (
    f"GET {STREAM} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()


def test_a_thousand_websockets_lock_no_client_out(server: HostileServer) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(NUMBER)]
        for connection in connections:
            connection.sendall(HANDSHAKE)
        assert httpx.get(f"{server.url}/livez", timeout=PATIENCE).status_code == 200
        answer = httpx.post(f"{server.url}/api/generate", json={"prompt": "a boat"}, timeout=PATIENCE)
        assert answer.status_code == 202, answer.text
        answers = [first_answer(connection) for connection in connections]
    upgraded = sum(answer.startswith(b"HTTP/1.1 101 ") for answer in answers)
    refused = sum(answer.startswith(b"HTTP/1.1 503 ") and b"application/problem+json" in answer for answer in answers)
    assert upgraded + refused == NUMBER
    assert upgraded >= 40  # SERVER_THREADS without those that are kept for others
    wait_until(lambda: is_followed(server), "streams were never free again")


def first_answer(connection: socket.socket) -> bytes:
    connection.settimeout(PATIENCE)
    return connection.recv(4096)


def is_followed(server: HostileServer) -> bool:
    """Whether a job is reported over a WebSocket."""
    with connect(server.url.replace("http", "ws") + STREAM) as stream:
        stream.send(json.dumps({"prompt": "a boat"}))
        return json.loads(stream.recv(timeout=PATIENCE))["type"] == "progress"
