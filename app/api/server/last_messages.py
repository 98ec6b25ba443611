"""Makes the last message of a connection in a few threads of its own: it may read and encode pictures, for which the
one thread of all event streams has no time.

Clients take turns, and none has all threads. What is made and not read yet is bounded, for each client and for all
together: one that reads slowly, or nothing, holds up its own messages first, and must not fill the memory.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from app.core.budget import RETRY_AFTER_SECONDS
from app.errors import CyberImageError, Unavailable

THREADS = 4
MOST_OF_CLIENT = THREADS - 1  # made at a time
MAX_UNSENT_BYTES = 256 << 20
CLIENT_UNSENT_BYTES = 64 << 20
UNSENT_TIMEOUT_SECONDS = 10.0  # for a client to read its own, or for others to read theirs
ALWAYS_FREE_BYTES = 65_536  # an error or a 202 is no burden

LastMessage = Callable[[CyberImageError | None], bytes]  # of an error: the one that ends the connection
Of = TypeVar("Of")

log = logging.getLogger("cyberimage.api")


@dataclass
class _Item(Generic[Of]):
    of: Of
    client: str
    message: LastMessage
    error: CyberImageError | None
    reserved: int = 0  # bytes of the bounds, while it is being made


@dataclass
class _Client(Generic[Of]):
    """`unsent` bytes are made and not read, or reserved for messages that are being made; `size` is what the last one
    took, and the next one probably does. `making` messages are being made. `full_since` is when it was first seen
    without room, since when nothing was read that would have made some."""

    waiting: deque[_Item[Of]] = field(default_factory=deque)
    making: int = 0
    unsent: int = 0
    size: int = 0
    full_since: float | None = None

    @property
    def is_idle(self) -> bool:
        return not (self.waiting or self.making or self.unsent)


class LastMessages(Generic[Of]):
    """Thread-safe. `finished` has the connections whose last message is made, with it and what it holds of the bounds:
    to be released when it was sent or dropped. None as the message: it could not be made. `on_finished` is called after
    each, by any thread."""

    def __init__(self, on_finished: Callable[[], None]) -> None:
        self.finished: deque[tuple[Of, bytes | None, int]] = deque()
        self._on_finished = on_finished
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="last-messages")
        self._other = ThreadPoolExecutor(1, thread_name_prefix="after-disconnects")
        self._lock = threading.Lock()
        self._clients: OrderedDict[str, _Client[Of]] = OrderedDict()  # the first has the next turn
        self._making = 0
        self._unsent = 0

    def make(self, of: Of, client: str, message: LastMessage, error: CyberImageError | None) -> None:
        """Make the message of a connection of `client`, when it is its turn."""
        with self._lock:
            self._of(client).waiting.append(_Item(of, client, message, error))
        self._start()

    def run(self, task: Callable[[], None]) -> None:
        """Run anything else that the thread of the connections must not wait for."""
        self._other.submit(task)

    def release(self, client: str, held: int) -> None:
        """`held` bytes of `client` were sent or dropped."""
        if not held:
            return
        with self._lock:
            self._hold(self._of(client), -held)
            for name, other in self._clients.items():
                if name == client or other.unsent < CLIENT_UNSENT_BYTES:  # it waits for all together
                    other.full_since = None
            self._forget_if_idle(client)
        self._start()

    def expire(self) -> None:
        """Refuse those for which nothing was read for too long. To be called now and then."""
        now = time.monotonic()
        with self._lock:
            for client in self._clients.values():
                if not client.waiting or self._has_room(client):
                    client.full_since = None
                elif client.full_since is None:
                    client.full_since = now
                elif now - client.full_since >= UNSENT_TIMEOUT_SECONDS:
                    for item in client.waiting:
                        item.error = item.error or _busy()
        self._start()

    def close(self) -> None:
        """Wait for what is being made; what waits is not made any more."""
        with self._lock:
            for client in self._clients.values():
                client.waiting.clear()
        self._pool.shutdown(wait=True)
        self._other.shutdown(wait=True)

    def _start(self) -> None:
        """As many as there are threads and turns."""
        with self._lock:
            while self._making < THREADS and (item := self._next()) is not None:
                client = self._of(item.client)
                item.reserved = 0 if item.error is not None else client.size
                self._making += 1
                client.making += 1
                self._hold(client, item.reserved)
                self._pool.submit(self._make, item)

    def _next(self) -> _Item[Of] | None:
        for name, client in self._clients.items():
            if client.waiting and client.making < MOST_OF_CLIENT and self._may_be_made(client):
                self._clients.move_to_end(name)
                return client.waiting.popleft()
        return None

    def _may_be_made(self, client: _Client[Of]) -> bool:
        return client.waiting[0].error is not None or self._has_room(client)  # errors are short

    def _has_room(self, client: _Client[Of]) -> bool:
        """A client that holds nothing has the whole bound; what others hold beyond their first message has three
        quarters of it, so that there is room for it."""
        if client.unsent == 0:
            return self._unsent < MAX_UNSENT_BYTES
        return client.unsent < CLIENT_UNSENT_BYTES and self._unsent < MAX_UNSENT_BYTES * 3 // 4

    def _make(self, item: _Item[Of]) -> None:
        made, held = None, 0
        try:
            made = item.message(item.error)
            held = 0 if len(made) <= ALWAYS_FREE_BYTES else len(made)
        except Exception as fault:  # the connection must be ended, whatever happens
            log.error("A response could not be made", exc_info=fault)
        with self._lock:
            client = self._of(item.client)
            self._making -= 1
            client.making -= 1
            self._hold(client, held - item.reserved)
            client.size = held or client.size
            self._forget_if_idle(item.client)
        self.finished.append((item.of, made, held))
        self._on_finished()
        self._start()

    def _hold(self, client: _Client[Of], change: int) -> None:
        self._unsent += change
        client.unsent += change

    def _of(self, client: str) -> _Client[Of]:
        found = self._clients.get(client)
        if found is None:
            found = self._clients[client] = _Client()
        return found

    def _forget_if_idle(self, client: str) -> None:
        if self._clients[client].is_idle:
            del self._clients[client]


def _busy() -> Unavailable:
    return Unavailable(
        "Too many large pictures wait to be read. Read those that were sent, then send it again.",
        retry_after=RETRY_AFTER_SECONDS,
    )
