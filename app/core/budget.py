"""A bounded amount of something, memory as a rule, that the threads of a process share."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import Unavailable

RETRY_AFTER_SECONDS = 2


class Budget:
    """`total` may be taken at a time, first come, first served. At most `most_waiting` threads wait for their part, and
    none longer than `patience` seconds: whoever would is told to come back."""

    def __init__(self, total: int, *, most_waiting: int, patience: float) -> None:
        self._total = total
        self._free = total
        self._most_waiting = most_waiting
        self._patience = patience
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @contextmanager
    def taking(self, amount: int) -> Iterator[None]:
        """Hold `amount` of it; more than the whole counts as the whole. Raises Unavailable."""
        amount = min(amount, self._total)
        self.take(amount)
        try:
            yield
        finally:
            self.give_back(amount)

    def take(self, amount: int) -> None:
        """For whoever gives it back elsewhere: at most the whole. Raises Unavailable."""
        ticket = object()
        with self._changed:
            if len(self._waiting) >= self._most_waiting:
                raise _busy()
            self._waiting.append(ticket)
            try:
                if not self._changed.wait_for(lambda: self._is_next(ticket, amount), self._patience):
                    raise _busy()
                self._free -= amount
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def give_back(self, amount: int) -> None:
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
        "Too many large pictures are coming in at once. Send yours again in a moment.", retry_after=RETRY_AFTER_SECONDS
    )
