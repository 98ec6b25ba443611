"""A receiver of webhooks on loopback. Its answers depend on the requested path."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.ports import free_port
from tests.waiting import PATIENCE


@dataclass
class Call:
    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Receiver(ThreadingHTTPServer):
    """`answers[path]` are the statuses to return in turn, the last one repeatedly; 200 without any."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: list[Call] = []
        self.answers: dict[str, list[int]] = {}
        self.release = threading.Event()  # lets go of the calls to /hang and /drip

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def paths(self) -> list[str]:
        return [call.path for call in self.calls]

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore senders that hang up."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.calls.append(Call(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        if self.path.startswith("/hang"):
            self.server.release.wait(PATIENCE)
        if self.path.startswith("/drip"):
            self._drip()
            return
        statuses = self.server.answers.get(self.path, [200])
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", self.server.url("/elsewhere"))
        endless = self.path.startswith("/endless")
        self.send_header("Content-Length", "1000000000000" if endless else "2")
        self.end_headers()
        self.wfile.write(b"ok")
        while endless and not self.server.release.is_set():
            self.wfile.write(b"x" * 100_000)

    do_GET = do_POST

    def _drip(self) -> None:
        """An endless header, a byte at a time: no single read takes long."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not self.server.release.wait(0.05):
            self.wfile.write(b"x")
            self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def unused_url() -> str:
    """The URL of a port without a listener."""
    return f"http://127.0.0.1:{free_port()}/"


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield receiver
    receiver.release.set()
    receiver.shutdown()
    receiver.server_close()
    thread.join()
