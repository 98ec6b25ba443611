"""A real S3 server in a process of its own (moto), and a proxy before it that injects faults."""

from __future__ import annotations

import http.client
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from app.files.s3.client import S3Access, S3Calls
from app.files.s3.store import S3Store
from tests.ports import free_port
from tests.processes import Processes
from tests.waiting import wait_until

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


class S3Server:
    """moto's server, without its checks of signatures; `new_bucket` makes an empty bucket."""

    def __init__(self, folder: Path) -> None:
        self._processes = Processes(folder)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._buckets = 0
        self._processes.start("-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port))
        wait_until(self._answers, "the S3 server did not start")

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/moto-api/data.json").status_code == 200
        except httpx.TransportError:
            return False

    def new_bucket(self) -> str:
        self._buckets += 1
        name = f"pictures-{self._buckets}"
        assert httpx.put(f"{self.url}/{name}").status_code == 200
        return name

    def environment(self, bucket: str, url: str = "") -> dict[str, str]:
        """The settings of an installation whose store is this bucket, at `url` if it is not the server's own."""
        return {
            "MEDIA_STORE": f"s3://{bucket}",
            "S3_ENDPOINT_URL": url or self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def keys(self, bucket: str) -> list[str]:
        """Of all objects of the bucket."""
        listed = client(self.url).list_objects_v2(Bucket=bucket)
        return sorted(each["Key"] for each in listed.get("Contents", ()))

    def close(self) -> None:
        self._processes.close()


def access(url: str, timeout: float = 20.0) -> S3Access:
    return S3Access(
        endpoint=url,
        region="",
        path_style=True,
        timeout=timeout,
        connections=8,
        access_key=KEY,
        secret_key=SECRET,
        token="",
    )


def client(url: str) -> Any:
    return access(url).client()


def store(url: str, bucket: str, *, prefix: str = "", patience: float = 20.0, timeout: float = 20.0) -> S3Store:
    return S3Store(bucket, prefix, S3Calls(access(url, timeout).client), patience=patience)


class FaultyProxy:
    """Passes requests on to the server at `port`. Each request takes the next of `faults`, if there is one for its
    method:

    - slow_down, denied: an answer of 503 or 403 instead;
    - lost: the request is carried out, and the connection closed without an answer;
    - cut: half of the answer, then the connection is closed;
    - silent: no answer before `close`;
    - dead: the connection is closed at once.

    While `away` is set, all are dead. `requests` are those that came: method, path and headers."""

    def __init__(self, port: int) -> None:
        self.faults: deque[tuple[str, str]] = deque()  # method, kind
        self.away = threading.Event()
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._upstream = port
        self._closing = threading.Event()
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                proxy.answer(self)

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = answer

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        fault = self._next(request)
        if fault == "silent":
            self._closing.wait()
        if fault in ("dead", "silent"):
            self._hang_up(request)
        elif fault in ("slow_down", "denied"):
            status, said = (503, SLOW_DOWN) if fault == "slow_down" else (403, DENIED)
            self._send(request, status, {"Content-Type": "application/xml", "Content-Length": str(len(said))}, said)
        else:
            self._pass_on(request, body, fault)

    def _next(self, request: BaseHTTPRequestHandler) -> str:
        with self._lock:
            self.requests.append((request.command, request.path, dict(request.headers)))
            if self.away.is_set():
                return "dead"
            if self.faults and self.faults[0][0] in ("*", request.command):
                return self.faults.popleft()[1]
            return ""

    def _pass_on(self, request: BaseHTTPRequestHandler, body: bytes, fault: str) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self._upstream)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "expect"}
        upstream.request(request.command, request.path, body or None, headers)
        answer = upstream.getresponse()
        data = answer.read()
        upstream.close()
        if fault == "lost":
            return self._hang_up(request)
        passed = {name: value for name, value in answer.getheaders() if name.lower() != "transfer-encoding"}
        if request.command != "HEAD":
            passed["Content-Length"] = str(len(data))
        self._send(request, answer.status, passed, data[: len(data) // 2] if fault == "cut" else data)
        if fault == "cut":
            self._hang_up(request)
        return None

    def _send(self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], data: bytes) -> None:
        request.send_response_only(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(data)

    def _hang_up(self, request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True
