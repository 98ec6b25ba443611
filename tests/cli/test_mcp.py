"""`cyberimage mcp`: the SDK's client starts it, and what its connections go through is not seen on stdout."""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from app.cli import mcp_bridge
from app.cli.mcp_bridge import Bridge
from app.config import ROOT

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
CALL = {"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": {"name": "generate_image", "arguments": {}}}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_sdk_starts_it(url: str, mode: str) -> None:
    arguments = ["-m", "app.cli", "mcp", "--server", url]
    started = StdioServerParameters(command=sys.executable, args=arguments, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    told: list[float] = []

    async def note(progress: float, total: float | None, words: str | None) -> None:
        told.append(progress)

    async def use() -> None:
        async with Client(stdio_client(started), mode=mode) as client:
            await client.list_tools()
            drawn = await client.call_tool(
                "generate_image", {"prompt": "ein Boot – für Zoë", "model_id": "fake"}, progress_callback=note
            )
            assert drawn.structured_content["prompt"] == "ein Boot – für Zoë"
            assert [one.type for one in drawn.content] == ["text", "image", "resource_link"]
            missing = await client.call_tool("get_generation", {"job_id": "0" * 32})
            assert missing.is_error

    anyio.run(use)
    assert told[-1] == 100


class Server(ThreadingHTTPServer):
    """Answers with what `answers` holds, one after the other: (content type, body), or None to hang up."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[str, bytes] | None] = []
        self.asked: list[tuple[dict[str, str], dict]] = []
        self.is_asked = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((dict(self.headers), body))
        self.server.is_asked.set()
        answer = self.server.answers.pop(0)
        if answer is None:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(200 if "json" in answer[0] or "event" in answer[0] else 502)
        self.send_header("Content-Type", answer[0])
        self.send_header("Content-Length", str(len(answer[1])))
        self.end_headers()
        self.wfile.write(answer[1])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(mcp_bridge, "PAUSES", (0.0, 0.0))
    serving = Server()
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    yield serving
    serving.shutdown()
    serving.server_close()


def run(url: str, *messages: object, token: str | None = None) -> list[dict]:
    """What is written for these lines."""
    lines = b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in messages)
    output = io.BytesIO()
    mcp_bridge_run = Bridge(url, token, output).run
    anyio.run(mcp_bridge_run, io.BytesIO(lines))
    return [json.loads(line) for line in output.getvalue().splitlines()]


def url_of(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def json_of(answer: dict) -> tuple[str, bytes]:
    return "application/json", json.dumps(answer, indent=1).encode()


def test_a_call_whose_connection_breaks_is_sent_again_with_the_same_key(server: Server) -> None:
    answer = {"jsonrpc": "2.0", "id": "a", "result": {}}
    server.answers = [None, ("text/event-stream", b": waiting\n\n"), json_of(answer)]
    assert run(url_of(server), CALL, token="secret") == [answer]
    keys = {headers["Idempotency-Key"] for headers, _ in server.asked}
    assert (len(server.asked), len(keys)) == (3, 1)
    assert {headers["Authorization"] for headers, _ in server.asked} == {"Bearer secret"}


def test_headers_say_what_the_body_says(server: Server) -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    server.answers = [json_of({"jsonrpc": "2.0", "id": 1, "result": {}})]
    run(url_of(server), {**CALL, "params": {"name": "schön", "_meta": meta}})
    [(headers, _)] = server.asked
    assert (headers["MCP-Protocol-Version"], headers["Mcp-Method"]) == ("2026-07-28", "tools/call")
    assert headers["Mcp-Name"] == "=?base64?c2Now7Zu?="


def test_the_version_agreed_on_is_in_later_headers(server: Server) -> None:
    server.answers = [json_of({"jsonrpc": "2.0", "id": 1, "result": {"protocolVersion": "2025-06-18"}})] * 2
    bridge = Bridge(url_of(server), None, io.BytesIO())
    anyio.run(bridge.run, io.BytesIO(json.dumps({**PING, "method": "initialize"}).encode()))
    anyio.run(bridge.run, io.BytesIO(json.dumps(PING).encode()))
    assert [headers.get("MCP-Protocol-Version") for headers, _ in server.asked] == [None, "2025-06-18"]


def test_events_become_lines(server: Server) -> None:
    told = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
    last = {"jsonrpc": "2.0", "id": "a", "result": {}}
    body = b": waiting\nevent: message\n" + b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in (told, last))
    server.answers = [("text/event-stream", body)]
    assert run(url_of(server), CALL) == [told, last]


def test_a_refusal_without_an_id_gets_that_of_the_request(server: Server) -> None:
    server.answers = [json_of({"jsonrpc": "2.0", "id": None, "error": {"code": -32010, "message": "Sign in first."}})]
    [answer] = run(url_of(server), CALL)
    assert (answer["id"], answer["error"]["message"]) == ("a", "Sign in first.")


def test_what_is_no_server_of_ours_is_said(server: Server) -> None:
    server.answers = [("text/html", b"<h1>Bad gateway</h1>"), json_of({"detail": "There is no resource at this URL."})]
    first, second = run(url_of(server), CALL), run(url_of(server), CALL)
    assert "answered 502 and no JSON" in first[0]["error"]["message"]
    assert second[0]["error"]["message"] == "There is no resource at this URL."


def test_a_server_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_bridge, "PAUSES", ())
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    [answer] = run(f"http://127.0.0.1:{port}", PING)
    assert answer["id"] == 1
    assert "cyberimage run" in answer["error"]["message"]


def test_lines_that_are_no_message(server: Server) -> None:
    answers = run(url_of(server), b"{\n", b"\n", b"[]\n", b"\xff\n")
    assert [(one["id"], one["error"]["code"]) for one in answers] == [(None, -32700), (None, -32600), (None, -32700)]
    assert not server.asked


def test_a_cancelled_call_is_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "a"}}
    accepted = threading.Event()

    class Lines(io.BytesIO):
        def readline(self, *_: object) -> bytes:
            line = super().readline()
            if b"cancelled" in line:
                accepted.wait(60)
            return line

    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)

        def accept() -> None:
            connection, _ = silent.accept()
            accepted.set()
            while connection.recv(4096):  # until it is closed
                pass

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        output = io.BytesIO()
        bridge = Bridge(f"http://127.0.0.1:{silent.getsockname()[1]}", None, output)
        anyio.run(bridge.run, Lines(b"".join(json.dumps(one).encode() + b"\n" for one in (CALL, cancel))))
        thread.join(60)
        assert not thread.is_alive()
    assert output.getvalue() == b""
