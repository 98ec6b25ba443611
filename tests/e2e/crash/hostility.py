"""Hostile clients for the time of a crash test, and a watch on /livez, which has to answer throughout."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import httpx

from tests.processes import Processes

HALF_OPEN = 60  # connections, more than the server has threads
HELD_SECONDS = 3.0
ALIVE_EVERY_SECONDS = 0.2
ALIVE_WITHIN_SECONDS = 20.0  # on a machine that is busy with all of this
BEGINNINGS = (
    b"",
    b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
    b"POST /api/generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    b"POST /api/session HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: x\r\nContent-Length: 100\r\n\r\n{",
    b"POST /v1/txt2img HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
)


class Hostility:
    """`done` counts what was sent, `faults` are the answers that may never be given."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._hold, self._watch)]
        folder.mkdir()
        self._processes = Processes(folder)  # hypothesis seeds the random numbers of its process
        self._fuzz: subprocess.Popen[bytes] | None = None
        self.done: Counter[str] = Counter()
        self.faults: list[str] = []

    def start(self) -> None:
        self._fuzz = self._processes.start("-m", "tests.hostile.fuzz", "--minutes", "600", "--url", self._url)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(120)
        said = self._processes.said()
        if self._fuzz is not None and self._fuzz.poll() is not None:
            self.faults.append(f"fuzzing ended: {said[-1500:]}")
        rounds = [line for line in said.splitlines() if line.endswith(" requests")]
        self.done["requests made up"] += int(rounds[-1].split()[0]) if rounds else 0
        self._processes.close()

    def _hold(self) -> None:
        """Begin requests and do not go on."""
        address = self._url.removeprefix("http://").split(":")
        while not self._stopping.is_set():
            with contextlib.ExitStack() as held, contextlib.suppress(OSError):
                for number in range(HALF_OPEN):
                    connection = held.enter_context(socket.create_connection((address[0], int(address[1])), timeout=30))
                    connection.sendall(BEGINNINGS[number % len(BEGINNINGS)])
                self.done["half-open connections"] += HALF_OPEN
                self._stopping.wait(HELD_SECONDS)

    def _watch(self) -> None:
        with httpx.Client(base_url=self._url, timeout=ALIVE_WITHIN_SECONDS) as client:
            while not self._stopping.wait(ALIVE_EVERY_SECONDS):
                began = time.monotonic()
                try:
                    client.get("/livez").raise_for_status()
                    self.done["/livez answered"] += 1
                except httpx.HTTPError as error:
                    self.faults.append(f"/livez did not answer after {time.monotonic() - began:.1f} s: {error!r}")
