"""Fetching a provider's files: from public https hosts or its origin, with a size limit, never with a token."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from app.errors import Cancelled
from app.providers.files import FetchFailed
from app.services.remote.files import OutputFetcher


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        where = self.path.removeprefix("/to/")
        if where != self.path:
            self.send_response(302)
            self.send_header("Location", where)
            self.end_headers()
            return
        size = int(self.path.removeprefix("/bytes/"))
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(b"x" * size)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def origin() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def fetch(origin: str, url: str, *, most: int = 1000, cancelled: bool = False) -> bytes:
    return OutputFetcher(origin=origin, max_bytes=most, stall_seconds=5)(url, lambda: cancelled)


def test_the_providers_own_origin(origin: str) -> None:
    assert fetch(origin, f"{origin}/bytes/1000") == b"x" * 1000
    assert fetch(origin, f"{origin}/to//bytes/3") == b"xxx"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/bytes/1001", "more than 1000 bytes"),
        ("/to/http://127.0.0.1:1/x", "neither https"),
        ("/to/https://127.0.0.1:1/x", "private address"),
        ("/to/file:///etc/passwd", "must begin with http"),
        ("/to//to//to//to//bytes/1", "redirected too often"),
    ],
)
def test_final_failures(origin: str, path: str, message: str) -> None:
    with pytest.raises(FetchFailed, match=message) as failed:
        fetch(origin, origin + path)
    assert failed.value.final


def test_another_port_is_another_origin(origin: str) -> None:
    with pytest.raises(FetchFailed, match="neither https"):
        fetch("http://127.0.0.1:1", f"{origin}/bytes/1")


def test_a_refused_connection_is_not_final(origin: str) -> None:
    with pytest.raises(FetchFailed) as failed:
        fetch("http://127.0.0.1:1", "http://127.0.0.1:1/x")
    assert not failed.value.final


def test_it_stops_when_cancelled(origin: str) -> None:
    with pytest.raises(Cancelled):
        fetch(origin, f"{origin}/bytes/10", cancelled=True)
