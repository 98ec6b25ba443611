"""Throttles token guessing: after too many wrong tokens an address has to wait, and its guesses are not checked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from app.api.security.client_identity import bucketing
from app.errors import RateLimited

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.strategies import RateLimiter


class LoginThrottle:
    """`most` wrong tokens per address in each minute; 0 = any number. Memory is bounded by `bucketing`."""

    def __init__(self, most: int) -> None:
        self._bucket = bucketing()
        self._windows: RateLimiter | None = None
        self._limit: RateLimitItem | None = None
        if most:
            self._windows, self._limit = _fixed_window(most)

    def check(self, address: str) -> None:
        """Raises RateLimited when `address` has guessed enough."""
        if self._windows is None or self._limit is None:
            return
        bucket = self._bucket(address)
        if not self._windows.test(self._limit, bucket):
            left = self._windows.get_window_stats(self._limit, bucket).reset_time - time.time()
            raise RateLimited("Too many wrong tokens came from your address. Wait a minute.", retry_after=max(left, 1))

    def failed(self, address: str) -> None:
        """Count a wrong token."""
        if self._windows is not None and self._limit is not None:
            self._windows.hit(self._limit, self._bucket(address))

    def clear(self) -> None:
        """Forget all wrong tokens."""
        if self._windows is not None:
            self._windows.storage.reset()


def _fixed_window(most: int) -> tuple[RateLimiter, RateLimitItem]:
    from limits import RateLimitItemPerMinute  # here: megabytes that only servers with sign-in need
    from limits.storage import MemoryStorage
    from limits.strategies import FixedWindowRateLimiter

    return FixedWindowRateLimiter(MemoryStorage()), RateLimitItemPerMinute(most)
