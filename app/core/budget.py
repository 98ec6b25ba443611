"""A budget of a bounded resource, such as memory, shared by the threads of a process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import Unavailable

RETRY_AFTER_SECONDS = 2


class Budget:
    """`total` may be in use at a time, granted in order of requests. At most `most_waiting` threads wait, none longer
    than `timeout` seconds; others get Unavailable with a retry time."""

    def __init__(self, total: int, *, most_waiting: int, timeout: float) -> None:
        self._total = total
        self._free = total
        self._most_waiting = most_waiting
        self._timeout = timeout
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @contextmanager
    def taking(self, amount: int) -> Iterator[None]:
        """Hold `amount`, at most the total, for the block. Raises Unavailable."""
        amount = min(amount, self._total)
        self.acquire(amount)
        try:
            yield
        finally:
            self.release(amount)

    def acquire(self, amount: int) -> None:
        """Take `amount`, at most the total, until `release`. Raises Unavailable."""
        ticket = object()
        with self._changed:
            if len(self._waiting) >= self._most_waiting:
                raise _busy()
            self._waiting.append(ticket)
            try:
                if not self._changed.wait_for(lambda: self._is_next(ticket, amount), self._timeout):
                    raise _busy()
                self._free -= amount
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def release(self, amount: int) -> None:
        with self._changed:
            self._free += amount
            self._changed.notify_all()

    @property
    def total(self) -> int:
        return self._total

    def _is_next(self, ticket: object, amount: int) -> bool:
        return self._waiting[0] is ticket and self._free >= amount


def _busy() -> Unavailable:
    return Unavailable(
        "Too many large pictures are being processed. Send yours again in a moment.", retry_after=RETRY_AFTER_SECONDS
    )
