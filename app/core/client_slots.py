"""Places that clients take, one each at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import Unavailable


class ClientSlots:
    """`total` places for all clients, of which each has one at most, so that one client's work delays no other's."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._taken: set[str] = set()
        self._changed = threading.Condition()

    @contextmanager
    def taking(self, client_id: str, *, timeout: float, refusal: str) -> Iterator[None]:
        """Hold a place for the block. Raises Unavailable, with `refusal`, if none is free within `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_free_for(client_id), timeout):
                raise Unavailable(refusal, retry_after=10)
            self._taken.add(client_id)
        try:
            yield
        finally:
            with self._changed:
                self._taken.discard(client_id)
                self._changed.notify_all()

    def _is_free_for(self, client_id: str) -> bool:
        return len(self._taken) < self._total and client_id not in self._taken
