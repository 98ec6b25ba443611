"""Throttles token guessing: after too many wrong tokens an address has to wait, and its guesses are not checked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from app.api.security.client_identity import bucketing
from app.errors import RateLimited

WINDOW_SECONDS = 60.0


class LoginThrottle:
    """`most` wrong tokens per address in each minute; 0 = any number. Memory is bounded: see `clients.BUCKETS`."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._bucket = bucketing()
        self._lock = threading.Lock()
        self._wrong: dict[str, int] = {}
        self._ends_at = 0.0

    def check(self, address: str) -> None:
        """Raises RateLimited when `address` has guessed enough."""
        with self._lock:
            self._turn_over()
            enough = self._most and self._wrong.get(self._bucket(address), 0) >= self._most
            left = self._ends_at - self._clock()
        if enough:
            raise RateLimited("Too many wrong tokens came from your address. Wait a minute.", retry_after=max(left, 1))

    def failed(self, address: str) -> None:
        with self._lock:
            self._turn_over()
            bucket = self._bucket(address)
            self._wrong[bucket] = self._wrong.get(bucket, 0) + 1

    def _turn_over(self) -> None:
        if self._clock() >= self._ends_at:
            self._wrong.clear()
            self._ends_at = self._clock() + WINDOW_SECONDS
