"""Hostile clients for the time of a crash test, and a watch on /livez, which has to answer throughout."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections import Counter
from types import SimpleNamespace

import httpx

from tests.hostile.fuzz import ATTACKS, run

EXAMPLES = 40  # requests of one attack
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

    def __init__(self, url: str) -> None:
        self._url = url
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._fuzz, self._hold, self._watch)]
        self.done: Counter[str] = Counter()
        self.faults: list[str] = []

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(120)

    def _fuzz(self) -> None:
        while not self._stopping.is_set():
            name = random.choice(list(ATTACKS))
            try:
                run(ATTACKS[name](SimpleNamespace(url=self._url)), EXAMPLES, random.getrandbits(32))
            except Exception as error:  # noqa: BLE001 - whatever came out of it, somebody has to see it
                self.faults.append(f"{name}: {error!r}"[:500])
            self.done[f"{name} requests"] += EXAMPLES

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
