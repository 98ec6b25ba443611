"""Malformed and abusive requests: each is refused with its code, and the next valid one is served."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading

import httpx
import pytest

from tests.hostile.server import HostileServer

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
POST = b"POST /api/generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
CLIMBING = [
    "/../../etc/passwd",
    "/static/../../../etc/passwd",
    "/static/..%2f..%2f..%2fetc%2fpasswd",
    "/static/%2e%2e/%2e%2e/etc/passwd",
    "/static/..%5c..%5cwindows",
    "/static/%00",
    "/api/image/..%2f..%2fdb.sqlite",
    "/api/image/../../db.sqlite/metadata",
    "/api/image/%2e%2e%2fdb.sqlite/thumbnail",
    "/api/status/..%2f..%2f",
    "/api/image/" + "a" * 4000,
    "/api/image/%ff%fe",
]


@pytest.mark.parametrize("path", CLIMBING)
def test_path_traversal_finds_nothing(server: HostileServer, path: str) -> None:
    answer = server.raw(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode("latin-1"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400"))
    assert b"application/problem+json" in head
    assert b"root:" not in body
    assert b"SQLite" not in body
    assert server.is_well()


HEADERS = {
    "a request id with a line break": {"X-Request-Id": "a\\r\\nSet-Cookie: x=1"},
    "a request id too long": {"X-Request-Id": "a" * 5000},
    "an idempotency key with escapes": {"Idempotency-Key": "\x1b[31m"},
    "an event id that is none": {"Last-Event-ID": "-1; DROP TABLE jobs"},
    "a range that is none": {"Range": "bytes=-99999999999999999999-"},
    "a token of nonsense": {"Authorization": "Bearer " + "\xe9" * 200},
    "an origin from elsewhere": {"Origin": "https://evil.example"},
    "a forwarded address": {"X-Forwarded-For": "1.2.3.4, <script>"},
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_are_never_echoed_or_trusted(server: HostileServer, name: str) -> None:
    lines = "".join(f"{key}: {value}\r\n" for key, value in HEADERS[name].items())
    body = b'{"prompt": "x"}'
    head = f"POST /api/generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{lines}"
    answer = server.raw(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode("latin-1") + body)
    first, _, rest = answer.partition(b"\r\n")
    assert first.split()[1] in (b"202", b"400", b"403"), answer[:300]
    headers = rest.partition(b"\r\n\r\n")[0].lower()
    assert b"set-cookie" not in headers
    assert b"evil.example" not in headers
    assert server.is_well()


SMUGGLED = {
    "two lengths": b"Content-Length: 5\r\nContent-Length: 50\r\n\r\nhello",
    "length and chunks": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "a length that is none": b"Content-Length: 0x10\r\n\r\n",
    "an odd encoding": b"Transfer-Encoding: xchunked\r\n\r\n",
    "chunks that lie": b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nx",
    "a folded header": b"X-A: 1\r\n  Content-Length: 5\r\n\r\nhello",
    "a header without a name": b": x\r\n\r\n",
    "a NUL in a header": b"X-A: a\0b\r\n\r\n",
    "a bare line feed": b"X-A: a\nX-B: b\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_malformed_http(server: HostileServer, name: str) -> None:
    answer = server.raw(b"POST /api/generate HTTP/1.1\r\nHost: 127.0.0.1\r\n" + SMUGGLED[name])
    assert answer == b"" or answer.split()[1] in (b"400", b"411", b"413", b"415", b"501"), answer[:300]
    assert answer.count(b"HTTP/1.1 2") == 0
    assert server.is_well()


def test_endless_headers_and_lines(server: HostileServer) -> None:
    for junk in (b"X-A: " + b"a" * 100_000, b"".join(b"X-%d: 1\r\n" % n for n in range(2000))):
        answer = server.raw(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n" + junk + b"\r\n\r\n")
        assert answer == b"" or answer.split()[1][:1] == b"4"
    assert server.raw(b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n")[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 414", b"")
    assert server.is_well()


def test_bodies_that_are_too_large_or_compressed(server: HostileServer) -> None:
    kind = {"Content-Type": "application/json"}
    url = f"{server.url}/api/generate"
    for content in (b"x" * 60_000_000, (b"y" * 100_000 for _ in range(600))):
        answer = httpx.post(url, content=content, headers=kind, timeout=60)
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    packed = gzip.compress(b" " * 500_000_000)
    answer = httpx.post(url, content=packed, headers={**kind, "Content-Encoding": "gzip"}, timeout=60)
    assert answer.status_code in (400, 413, 415)  # it is not unpacked
    deep = b'{"prompt":' * 100_000
    assert httpx.post(url, content=deep, headers=kind).json()["code"] == "invalid_request"
    assert server.is_well()


ENCODINGS = [
    b'{"prompt": "\xff"}',
    b'\xff\xfe{\x00"\x00',
    "{'prompt': 'x'}".encode("utf-16"),
    b'\xef\xbb\xbf{"prompt": 1}',
    b"\0",
]


@pytest.mark.parametrize("body", ENCODINGS)
def test_encodings_that_are_not_utf_8(server: HostileServer, body: bytes) -> None:
    answer = httpx.post(f"{server.url}/api/generate", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert server.is_well()


ATTACKS = [
    "<script>alert(1)</script>",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "../../etc/passwd",
    "a\0b",
    "javascript:alert(1)",
]


@pytest.mark.parametrize("text", ATTACKS)
@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_text_that_looks_like_an_attack(server: HostileServer, text: str, field: str) -> None:
    for path, body in (
        ("/api/generate", {"prompt": "x", field: text}),
        ("/api/v1/generate/txt2img", {"prompt": "x", field: text}),
        ("/v1/txt2img", {"prompt": "x", field: text}),
    ):
        answer = httpx.post(server.url + path, json=body)
        assert answer.status_code == 400, (path, answer.text)
        assert "suspicious_input" in answer.text, (path, answer.text)
        assert text not in server.said()


def test_many_slow_clients_lock_no_client_out(server: HostileServer) -> None:
    """More connections than threads, each with an incomplete request."""
    slow = []
    for number in range(120):
        connection = server.connect()
        part = (b"", b"GET /livez HT", b"GET /livez HTTP/1.1\r\nX-A: ")[number % 3]
        connection.sendall(part)
        slow.append(connection)
    try:
        answers: list[int] = []

        def ask() -> None:
            answers.append(httpx.get(f"{server.url}/livez", timeout=60).status_code)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
        assert answers == [200] * 3
    finally:
        for connection in slow:
            connection.close()
    assert server.is_well()


def test_missing_bodies_occupy_threads_only_until_the_timeout(server: HostileServer) -> None:
    head = POST + b"Content-Length: 99\r\n\r\n"
    slow = [server.connect() for _ in range(60)]
    for connection in slow:
        connection.sendall(head)
    assert httpx.get(f"{server.url}/livez", timeout=90).status_code == 200
    for connection in slow:  # each is closed or gets an error
        connection.settimeout(90)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100).split()[1:2] != [b"202"]
        connection.close()
    assert server.is_well()


def test_clients_that_hang_up_in_the_middle(server: HostileServer) -> None:
    job = httpx.post(f"{server.url}/api/generate", json={"prompt": "x"}).json()
    body = json.dumps({"prompt": "x"}).encode()
    post = POST + b"Content-Length: 900\r\n\r\n"
    for _ in range(50):
        for request in (
            post + body,
            f"GET {job['events_url']} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode(),
            b"GET /api/images HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        ):
            connection = server.connect()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # RST instead of FIN
            connection.sendall(request)
            connection.close()
    assert server.is_well()
    assert server.eventually(lambda: server.connections() < 10)
