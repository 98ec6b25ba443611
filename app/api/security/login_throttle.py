"""Throttles token guessing: after too many wrong tokens an address has to wait, and its guesses are not checked.

All API processes of an installation count together, in the database. Each counts in its memory too: one address that
goes on guessing costs no query, and a database that is away lifts no limit.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from typing import TYPE_CHECKING

from app.api.security.client_identity import bucketing
from app.errors import DatabaseUnavailable, RateLimited
from app.services.context import AppContext
from app.store.ops.secrets import secret

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.strategies import RateLimiter

_SALT = "login_bucket_salt"


class LoginThrottle:
    """`most` wrong tokens per address in each minute; 0 = any number. Memory and table are bounded by `bucketing`."""

    def __init__(self, context: AppContext, most: int) -> None:
        self._context = context
        self._failures = context.login_failures
        self._most = most
        self._bucket = bucketing()
        self._salt: bytes | None = None
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
            _refuse(self._windows.get_window_stats(self._limit, bucket).reset_time - time.time())
        with contextlib.suppress(DatabaseUnavailable):
            count, seconds = self._failures.count(self._shared_bucket(address))
            if count >= self._most:
                _refuse(seconds)

    def failed(self, address: str) -> None:
        """Count a wrong token."""
        if self._windows is None or self._limit is None:
            return
        self._windows.hit(self._limit, self._bucket(address))
        with contextlib.suppress(DatabaseUnavailable):
            self._failures.add(self._shared_bucket(address))

    def clear(self) -> None:
        """Forget all wrong tokens."""
        if self._windows is not None:
            self._windows.storage.reset()
            self._failures.clear()

    def _shared_bucket(self, address: str) -> int:
        """The bucket of `address` in all processes: sorted by a salt that is kept in the database."""
        if self._salt is None:
            self._salt = bytes.fromhex(secret(self._context.database, _SALT, lambda: secrets.token_hex(16)))
        return int(bucketing(self._salt)(address))


def _refuse(seconds: float) -> None:
    raise RateLimited("Too many wrong tokens came from your address. Wait a minute.", retry_after=max(seconds, 1))


def _fixed_window(most: int) -> tuple[RateLimiter, RateLimitItem]:
    from limits import RateLimitItemPerMinute  # here: megabytes that only servers with sign-in need
    from limits.storage import MemoryStorage
    from limits.strategies import FixedWindowRateLimiter

    return FixedWindowRateLimiter(MemoryStorage()), RateLimitItemPerMinute(most)
