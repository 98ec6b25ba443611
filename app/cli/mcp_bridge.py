"""Passes messages of the Model Context Protocol on, from stdin to a server's `/mcp` and from there to stdout.

The server understands them; here are only lines, connections and the headers that HTTP wants. A call whose connection
breaks is sent again with its Idempotency-Key, so that it is drawn once.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import IO, Any

import httpx

from app.version import __version__

MOST_LINE_BYTES = 64_000_000
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 60.0  # longer than the server's keepalive comments are apart
PAUSES = (0.5, 1.0, 2.0, 4.0)  # before each further try
CLOSING_SECONDS = 1.0  # for calls to be answered once stdin has ended
PARSE_ERROR, INVALID_REQUEST, INTERNAL_ERROR = -32700, -32600, -32603
_VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
_NAMED_BY = {"tools/call": "name", "resources/read": "uri"}

Message = dict[str, Any]


class Unanswered(Exception):
    """The connection ended before the answer."""


class Bridge:
    """`run` ends when `lines` do. One task per request; a cancelled one closes its connection."""

    def __init__(self, url: str, token: str | None, output: IO[bytes]) -> None:
        base = url.rstrip("/")
        self.url = base if base.endswith("/mcp") else f"{base}/mcp"
        headers = {"Accept": "application/json, text/event-stream", "User-Agent": f"cyberimage-mcp/{__version__}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._headers = headers
        self._output = output
        self._version: str | None = None  # as agreed on by `initialize`
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self, lines: IO[bytes]) -> None:
        timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        async with httpx.AsyncClient(headers=self._headers, timeout=timeout, trust_env=False) as http:
            async for line in _read(lines):
                await self._take(http, line)
            if self._running:
                await asyncio.wait(self._running.values(), timeout=CLOSING_SECONDS)
            for task in list(self._running.values()):
                task.cancel()

    async def _take(self, http: httpx.AsyncClient, line: bytes) -> None:
        """A request is answered by a task of its own. Notifications are passed on at once: they have an order."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            self._write(_error(None, PARSE_ERROR, "The line is not valid JSON."))
            return
        if not isinstance(message, dict):
            self._write(_error(None, INVALID_REQUEST, "Each line must be one JSON-RPC message; batches are not taken."))
        elif "method" in message and message.get("id") is not None:
            self._start(http, message)
        elif message.get("method") == "notifications/cancelled":
            self._cancel(message)
        else:
            await self._notify(http, message)

    def _start(self, http: httpx.AsyncClient, message: Message) -> None:
        key = json.dumps(message["id"])
        task = asyncio.create_task(self._answer(http, message))
        self._running[key] = task
        task.add_done_callback(lambda done: self._running.pop(key, None) if self._running.get(key) is done else None)

    def _cancel(self, message: Message) -> None:
        """Nothing more is written about a cancelled request."""
        params = message.get("params")
        task = self._running.get(json.dumps(params.get("requestId"))) if isinstance(params, dict) else None
        if task is not None:
            task.cancel()

    async def _notify(self, http: httpx.AsyncClient, message: Message) -> None:
        try:
            await http.post(self.url, json=message, headers=self._headers_of(message))
        except httpx.HTTPError as error:
            print(f"cyberimage mcp: {self.url} does not answer: {error}", file=sys.stderr)

    async def _answer(self, http: httpx.AsyncClient, message: Message) -> None:
        headers = {**self._headers_of(message), "Idempotency-Key": uuid.uuid4().hex}
        for pause in (*PAUSES, None):
            try:
                await self._ask(http, message, headers)
                return
            except (httpx.TransportError, Unanswered) as error:
                if pause is None:
                    self._write(_error(message["id"], INTERNAL_ERROR, _unreachable(self.url, error)))
                    return
                await asyncio.sleep(pause)
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                self._write(_error(message["id"], INTERNAL_ERROR, f"{self.url} cannot be asked: {error}"))
                return

    async def _ask(self, http: httpx.AsyncClient, message: Message, headers: Mapping[str, str]) -> None:
        """Send the request and write whatever is answered. Raises Unanswered if nothing is, HTTPError."""
        async with http.stream("POST", self.url, json=message, headers=headers) as response:
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind == "text/event-stream":
                async for answer in _events(response):
                    self._pass_on(message, answer)
                    if "id" in answer:
                        return
                raise Unanswered("the stream ended before the answer")
            if kind != "application/json":
                words = f"{self.url} answered {response.status_code} and no JSON. Is it a CyberImage server?"
                self._write(_error(message["id"], INTERNAL_ERROR, words))
                return
            answer = json.loads(await response.aread())
        self._pass_on(message, answer if "jsonrpc" in answer else _error(message["id"], INTERNAL_ERROR, _words(answer)))

    def _pass_on(self, message: Message, answer: Message) -> None:
        if answer.get("id") is None and "error" in answer:  # refused before its id was read
            answer = {**answer, "id": message["id"]}
        result = answer.get("result")
        if message["method"] == "initialize" and isinstance(result, dict):
            self._version = result.get("protocolVersion")
        self._write(answer)

    def _headers_of(self, message: Message) -> dict[str, str]:
        """What HTTP wants beside the body: version, method and name, as far as the message has them."""
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        meta = params.get("_meta")
        own = meta.get(_VERSION_KEY) if isinstance(meta, dict) else None
        method = str(message.get("method", ""))
        found = {"MCP-Protocol-Version": own or (None if method == "initialize" else self._version)}
        if own:
            found |= {"Mcp-Method": method, "Mcp-Name": params.get(_NAMED_BY.get(method, ""))}
        return {name: _header(value) for name, value in found.items() if isinstance(value, str)}

    def _write(self, message: Message) -> None:
        self._output.write(json.dumps(message, ensure_ascii=False).encode() + b"\n")
        self._output.flush()


async def _read(lines: IO[bytes]) -> AsyncIterator[bytes]:
    """The lines, read in a thread: stdin cannot be awaited on every system."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[bytes](16)

    def read() -> None:
        line = b"-"
        while line:
            line = lines.readline(MOST_LINE_BYTES)
            asyncio.run_coroutine_threadsafe(queue.put(line), loop).result()

    threading.Thread(target=read, name="stdin", daemon=True).start()
    while line := await queue.get():
        if line.strip():
            yield line


async def _events(response: httpx.Response) -> AsyncIterator[Message]:
    """The messages of an event stream."""
    data: list[str] = []
    async for line in response.aiter_lines():
        if line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and data:
            yield json.loads("\n".join(data))
            data.clear()


def _header(value: str) -> str:
    """As it is, or encoded as the protocol says where a header cannot hold it."""
    if value.isascii() and value.isprintable() and value == value.strip() and not value.startswith("=?base64?"):
        return value
    import base64

    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def _error(id: Any, number: int, words: str) -> Message:
    return {"jsonrpc": "2.0", "id": id, "error": {"code": number, "message": words}}


def _words(problem: Mapping[str, Any]) -> str:
    return str(problem.get("detail") or problem.get("error") or "The server answered with an error.")


def _unreachable(url: str, error: Exception) -> str:
    advice = "Start it with `cyberimage run`, or name another server with --server."
    return f"CyberImage does not answer at {url} ({type(error).__name__}). {advice}"
