"""Throttles token guessing: after too many wrong tokens an address has to wait, and its guesses are not checked."""

from __future__ import annotations

import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from app.api.security.client_identity import bucketing
from app.errors import RateLimited


class LoginThrottle:
    """`most` wrong tokens per address in each minute; 0 = any number. Memory is bounded by `bucketing`."""

    def __init__(self, most: int) -> None:
        self._limit = RateLimitItemPerMinute(most) if most else None
        self._bucket = bucketing()
        self._storage = MemoryStorage()
        self._windows = FixedWindowRateLimiter(self._storage)

    def check(self, address: str) -> None:
        """Raises RateLimited when `address` has guessed enough."""
        bucket = self._bucket(address)
        if self._limit is None or self._windows.test(self._limit, bucket):
            return
        left = self._windows.get_window_stats(self._limit, bucket).reset_time - time.time()
        raise RateLimited("Too many wrong tokens came from your address. Wait a minute.", retry_after=max(left, 1))

    def failed(self, address: str) -> None:
        if self._limit is not None:
            self._windows.hit(self._limit, self._bucket(address))

    def clear(self) -> None:
        """Forget all guesses."""
        self._storage.reset()
