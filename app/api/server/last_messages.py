"""Makes the last message of a connection in a few threads of its own: it may read and encode pictures, for which the
one thread of all event streams has no time.

What is made and not read yet is bounded: clients that read slowly, or nothing, must not fill the memory.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from app.core.budget import Budget
from app.errors import CyberImageError, Unavailable

THREADS = 4
MAX_UNSENT_BYTES = 256 << 20
UNSENT_TIMEOUT_SECONDS = 10.0  # for others to read theirs
ALWAYS_FREE_BYTES = 65_536  # an error or a 202 is no burden

LastMessage = Callable[[CyberImageError | None], bytes]  # of an error: the one that ends the connection
Of = TypeVar("Of")

log = logging.getLogger("cyberimage.api")


class LastMessages(Generic[Of]):
    """`finished` has the connections whose last message is made, with it and what it holds of the bound: to be released
    when it was sent or dropped. None as the message: it could not be made. `on_finished` is called after each, by any
    thread."""

    def __init__(self, on_finished: Callable[[], None]) -> None:
        self.finished: deque[tuple[Of, bytes | None, int]] = deque()
        self._on_finished = on_finished
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="last-messages")
        self._unsent = Budget(MAX_UNSENT_BYTES, most_waiting=THREADS, timeout=UNSENT_TIMEOUT_SECONDS)

    def make(self, of: Of, message: LastMessage, error: CyberImageError | None) -> None:
        """Make the message of a connection, some time."""
        self._pool.submit(self._make, of, message, error)

    def run(self, task: Callable[[], None]) -> None:
        """Run anything else that the thread of the connections must not wait for."""
        self._pool.submit(task)

    def release(self, held: int) -> None:
        if held:
            self._unsent.release(held)

    def close(self) -> None:
        """Wait for what is being made."""
        self._pool.shutdown(wait=True)

    def _make(self, of: Of, message: LastMessage, error: CyberImageError | None) -> None:
        made, held = None, 0
        try:
            made = message(error)
            held = self._hold(len(made))
        except Unavailable as full:
            made = message(full)
        except Exception as fault:  # the connection must be ended, whatever happens
            log.error("A response could not be made", exc_info=fault)
        self.finished.append((of, made, held))
        self._on_finished()

    def _hold(self, size: int) -> int:
        """Raises Unavailable when too much is unsent."""
        held = 0 if size <= ALWAYS_FREE_BYTES else min(size, self._unsent.total)
        if held:
            self._unsent.acquire(held)
        return held
