"""Many clients in one process: some submit and poll, others read event streams.

Plain HTTP/1.1 over asyncio's streams: a library would cost the machine more than the server that is measured.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

RAMP_SECONDS = 15.0
ENDED = ("COMPLETED", "FAILED", "CANCELLED")


@dataclass
class Tally:
    """Results of all clients. `status_seconds` are those of GET /api/status, from the first byte sent to the last
    read."""

    answers: Counter[int] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    status_seconds: list[float] = field(default_factory=list)
    submit_seconds: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    events: int = 0
    streams_ended: int = 0
    streams_open: int = 0
    most_streams_open: int = 0


class LoadClients:
    """`pause`: seconds that a client waits between two polls of its job."""

    def __init__(self, url: str, bodies: list[dict[str, Any]], pause: float) -> None:
        address = urlsplit(url)
        self._host, self._port = str(address.hostname), int(address.port or 80)
        self._bodies = bodies
        self._pause = pause
        self._jobs: list[str] = []  # unfinished ones, for the event stream clients
        self.tally = Tally()

    async def run(self, clients: int, streams: int, seconds: float) -> None:
        self._stop_at = time.monotonic() + seconds
        self._ramp = min(RAMP_SECONDS, seconds / 4)  # clients do not all start in the same second
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(self._client())
            for _ in range(streams):
                group.create_task(self._listener())

    def _is_over(self) -> bool:
        return time.monotonic() >= self._stop_at

    async def _client(self) -> None:
        await asyncio.sleep(random.uniform(0, self._ramp))
        while not self._is_over():
            try:
                reader, writer = await asyncio.open_connection(self._host, self._port)
                try:
                    while not self._is_over():
                        await self._one_job(reader, writer)
                finally:
                    writer.close()
            except (OSError, EOFError) as error:
                self.tally.broken[f"client: {type(error).__name__}"] += 1
                await asyncio.sleep(0.2)

    async def _one_job(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = json.dumps(random.choice(self._bodies)).encode()
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        started = time.perf_counter()
        status, answer = await self._ask(reader, writer, "POST", "/api/generate", head, body)
        self.tally.submit_seconds.append(time.perf_counter() - started)
        if status != 202:
            await asyncio.sleep(self._pause)
            return
        job_id = answer["job_id"]
        self._jobs.append(job_id)
        state = "PENDING"
        while state not in ENDED and not self._is_over():
            await asyncio.sleep(self._pause * random.uniform(0.8, 1.2))
            started = time.perf_counter()
            status, answer = await self._ask(reader, writer, "GET", f"/api/status/{job_id}")
            self.tally.status_seconds.append(time.perf_counter() - started)
            state = answer.get("status", state) if status == 200 else state
        self._jobs.remove(job_id)
        self.tally.outcomes[state] += 1

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        method: str,
        path: str,
        head: str = "",
        body: bytes = b"",
    ) -> tuple[int, dict[str, Any]]:
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n{head}\r\n".encode() + body)
        status, headers = await _read_head(reader)
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        self.tally.answers[status] += 1
        return status, json.loads(content)

    async def _listener(self) -> None:
        await asyncio.sleep(random.uniform(0, self._ramp))
        while not self._is_over():
            if not self._jobs:
                await asyncio.sleep(0.1)
                continue
            try:
                await asyncio.wait_for(self._listen(random.choice(self._jobs)), self._stop_at - time.monotonic())
            except TimeoutError:
                return
            except (OSError, EOFError) as error:
                self.tally.broken[f"listener: {type(error).__name__}"] += 1
                await asyncio.sleep(0.2)

    async def _listen(self, job_id: str) -> None:
        tally = self.tally
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(f"GET /api/jobs/{job_id}/events HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
            status, _ = await _read_head(reader)
            tally.answers[status] += 1
            if status != 200:
                await asyncio.sleep(1)
                return
            tally.streams_open += 1
            tally.most_streams_open = max(tally.most_streams_open, tally.streams_open)
            try:
                while length := int(await reader.readuntil(b"\r\n"), 16):
                    tally.events += (await reader.readexactly(length + 2)).count(b"event: ")
                tally.streams_ended += 1
            finally:
                tally.streams_open -= 1
        finally:
            writer.close()


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    return int(lines[0].split()[1]), headers
