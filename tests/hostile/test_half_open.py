"""Half-open connections of every kind: the server keeps serving other clients, however many there are."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from app.config import load_settings
from app.services.context import open_context
from app.services.media.publish import GenerationResult, Picture, publish
from tests.hostile.server import HostileServer
from tests.processes import Processes
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SESSION = b"POST /api/session HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
GENERATE = b"POST /api/generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n"
CHUNKED = SESSION + b"Transfer-Encoding: chunked\r\n\r\n"
LARGE = b"Content-Length: 900000\r\n"
SHAPES = {
    "no bytes": b"",
    "half a line": b"GET /livez HT",
    "half a head": b"GET /livez HTTP/1.1\r\nX-A: ",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),
    "a head without its body": SESSION + b"Content-Length: 100\r\n\r\n",
    "one byte of the body": SESSION + b"Content-Length: 100\r\n\r\n{",
    "an upgrade of a POST": SESSION + b"Upgrade: x\r\nContent-Length: 100\r\n\r\n{",
    "an upgrade to a WebSocket of a POST": SESSION + UPGRADE + b"Content-Length: 100\r\n\r\n{",
    "an upgrade to HTTP/2": SESSION + b"Upgrade: h2c\r\nHTTP2-Settings: AA\r\nContent-Length: 100\r\n\r\n{",
    "a large body": SESSION + LARGE + b"\r\n" + b" " * 40_000,
    "a large body with an upgrade": SESSION + UPGRADE + LARGE + b"\r\n" + b" " * 40_000,
    "a large body that is refused": GENERATE + LARGE + b"\r\n" + b" " * 40_000,
    "a body on a GET": b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n" + LARGE + b"\r\n" + b" " * 40_000,
    "a chunk that stalls": SESSION + b"Transfer-Encoding: chunked\r\n\r\n64\r\n{",
    "zeros that could end chunks": CHUNKED + b"0" * 32_000,
    "sizes without chunks": CHUNKED + (b"0" * 60 + b"\r\n") * 500,
    "chunks without an end": SESSION + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    "lines that could be a last chunk": SESSION + b"Transfer-Encoding: chunked\r\n\r\n" + (b"0" * 60 + b"\r\n") * 520,
    "zeros that could be a last chunk": SESSION + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 32_500,
    "a large chunk that stalls": SESSION + b"Transfer-Encoding: chunked\r\n\r\nFFFFF\r\n" + b" " * 40_000,
    "a body that waits to be asked for": SESSION + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n",
    "a closed conversation": b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
    "a refused WebSocket": b"GET /v1/stream/generate/txt2img HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE + b"\r\n",
}


class KeyedServer(HostileServer):
    """With AUTH_MODE=keys, and one key."""

    def __init__(self, processes: Processes, folder, **environment: str) -> None:
        super().__init__(processes, folder, program="tests.hostile.patient", AUTH_MODE="keys", **environment)
        done = processes.start("-m", "app.cli", "keys", "create", "alice", DATABASE_URL=f"sqlite:///{folder}/db.sqlite")
        assert done.wait(60) == 0
        self.token = next(word for word in processes.said().split() if word.startswith("ci_"))

    def make_picture(self) -> str:
        """The id of one whose file has some MB."""
        known = {"Authorization": f"Bearer {self.token}"}
        assert httpx.post(f"{self.url}/api/generate", json={"prompt": "x"}, headers=known).status_code == 202
        places = {"database_url": f"sqlite:///{self.folder}/db.sqlite", "images_dir": self.folder / "images"}
        settings = load_settings({}, None, **places, videos_dir=self.folder / "videos", disk_floor_bytes=0)
        context = open_context(settings)
        try:
            claim = context.claims.claim("worker-1")
            assert claim is not None
            noise = np.random.default_rng(1).integers(0, 256, (2048, 2048, 3), np.uint8)
            return publish(context, claim, GenerationResult([Picture(noise, 1)], {}, {}, {}))[0].id
        finally:
            context.close()

    def answers(self) -> bool:
        """Whether requests with and without a token are served."""
        with httpx.Client(base_url=self.url, timeout=60) as client:
            known = {"Authorization": f"Bearer {self.token}"}
            assert client.get("/livez").status_code == 200
            assert client.get("/api/models", headers=known).status_code == 200
            assert client.post("/api/generate", json={"prompt": "x"}, headers=known).status_code == 202
            assert client.post("/api/generate", json={"prompt": "x"}).status_code == 401
        return True


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedServer]:
    folder = tmp_path_factory.mktemp("half-open")
    processes = Processes(folder)
    try:
        yield KeyedServer(processes, folder)
    finally:
        processes.close()


@contextlib.contextmanager
def held_open(server: KeyedServer, count: int, first: bytes) -> Iterator[list[socket.socket]]:
    """Open `count` connections that send `first` and nothing more; reset afterwards."""
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = stack.enter_context(server.connect())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(ConnectionError):  # refused already
                connection.sendall(first)
            connections.append(connection)
        yield connections


@pytest.mark.parametrize("count", [48, 480])
@pytest.mark.parametrize("shape", SHAPES)
def test_half_open_connections_lock_no_client_out(server: KeyedServer, shape: str, count: int) -> None:
    with held_open(server, count, SHAPES[shape]):
        assert server.answers()
        assert server.answers()
    wait_until(lambda: server.connections() < 10, "connections stay behind")


def test_all_shapes_at_once(server: KeyedServer) -> None:
    with contextlib.ExitStack() as stack:
        for first in SHAPES.values():
            stack.enter_context(held_open(server, 24, first))
        assert server.answers()


def test_a_client_that_does_not_read_responses(server: KeyedServer) -> None:
    """Pipelined requests on one connection whose responses are never read, more than any buffer holds."""
    request = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with held_open(server, 60, request * 60):
        assert server.answers()


def test_readers_that_do_not_read_a_file(server: KeyedServer) -> None:
    """Files are streamed separately from other responses, and take long on a slow connection."""
    known = f"Authorization: Bearer {server.token}\r\n\r\n".encode()
    request = b"GET /api/image/" + server.make_picture().encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n" + known
    with contextlib.ExitStack() as stack:
        for _ in range(90):
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            reader.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            reader.connect(("127.0.0.1", server.port))
            reader.sendall(request)
        assert server.answers()
        assert server.answers()
    wait_until(lambda: server.connections() < 10, "connections stay behind")
    assert server.is_well()
    assert "Socket error" not in server.said()


@pytest.mark.parametrize("path", ["/api/generate", "/v1/img2img"])
def test_an_upload_without_a_free_thread_gets_an_error(server: KeyedServer, path: str) -> None:
    """All connection slots of this address are occupied by requests without their announced body."""
    known = f"Authorization: Bearer {server.token}\r\nContent-Type: application/json\r\nHost: 127.0.0.1\r\n".encode()
    length = b"Content-Length: 900000\r\n\r\n"
    with held_open(server, 26, b"POST /api/webhooks/replicate HTTP/1.1\r\nHost: 127.0.0.1\r\n" + length):
        assert server.answers()
        with server.connect() as connection:
            connection.sendall(b"POST " + path.encode() + b" HTTP/1.1\r\n" + known + length + b" " * 40_000)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 503"), answer
    assert b"\r\nRetry-After: 5\r\n" in answer
    assert b'"code": "unavailable"' in answer


def test_one_address_cannot_take_all_connection_slots(server: KeyedServer) -> None:
    body = b'{"prompt": "x"' + b" " * 40_000 + b"}"
    known = f"Authorization: Bearer {server.token}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with held_open(server, 60, b"POST /api/webhooks/replicate HTTP/1.1\r\nHost: 127.0.0.1\r\n" + LARGE + b"\r\n"):
        assert server.answers()
        with socket.create_connection(("127.0.0.1", server.port), 30, ("127.0.0.2", 0)) as other:
            other.sendall(GENERATE + known + body[:39_000])
            assert server.answers()
            other.sendall(body[39_000:])
            assert other.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 202"


def test_a_refusal_does_not_wait_for_the_body(server: KeyedServer) -> None:
    with server.connect() as connection:
        connection.sendall(SHAPES["a large body that is refused"])
        head = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.1 401")
    assert b"\r\nConnection: close" in head


def test_a_large_body_of_a_sign_in_is_not_read(server: KeyedServer) -> None:
    with server.connect() as connection:
        connection.sendall(SHAPES["a large body"])
        assert connection.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 413"


def test_expect_100_continue_is_refused_before_the_body(server: KeyedServer) -> None:
    with server.connect() as connection:
        connection.sendall(GENERATE + b"Expect: 100-continue\r\n" + LARGE + b"\r\n")
        head = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.1 401"), head


def test_expect_100_continue_is_answered(server: KeyedServer) -> None:
    body = b'{"prompt": "x"}'
    known = f"Authorization: Bearer {server.token}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with server.connect() as connection:
        connection.sendall(GENERATE + b"Expect: 100-continue\r\n" + known)
        assert connection.recv(25, socket.MSG_WAITALL) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 202"


def test_more_connections_than_the_limit(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("few-threads")
    processes = Processes(folder)
    try:
        small = KeyedServer(processes, folder, SERVER_THREADS="4", MOST_CONNECTIONS="80")
        for shape in ("no bytes", "half a head", "a closed conversation", "a chunk that stalls"):
            with held_open(small, 300, SHAPES[shape]):
                assert small.answers()
    finally:
        processes.close()
