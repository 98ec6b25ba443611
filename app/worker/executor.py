"""How many jobs a worker runs at a time, and on which threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from app.worker.critical_thread import EXIT_BROKEN, exit_hard, log

Work = Callable[[], None]


class JobExecutor(Protocol):
    slots: int

    def has_room(self, timeout: float) -> bool:
        """Whether one more job can be taken; waits up to `timeout` seconds for it."""

    def do(self, work: Work) -> None:
        """Do `work`, now or beside others. There must be room."""

    def finish(self) -> None:
        """Wait for all that was begun."""


class InlineExecutor:
    """One job at a time, on the thread that claims: a model must not meet two threads."""

    slots = 1

    def has_room(self, timeout: float) -> bool:
        return True

    def do(self, work: Work) -> None:
        work()

    def finish(self) -> None:
        """Nothing is under way."""


class ThreadedExecutor:
    """`slots` jobs at a time, each on a thread of its own: they do little but wait for somebody else's machine."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._room = threading.Semaphore(slots)
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="remote")

    def has_room(self, timeout: float) -> bool:
        if not self._room.acquire(timeout=timeout):
            return False
        self._room.release()
        return True

    def do(self, work: Work) -> None:
        self._room.acquire()
        self._threads.submit(self._do, work)

    def finish(self) -> None:
        self._threads.shutdown(wait=True)

    def _do(self, work: Work) -> None:
        broken = True
        try:
            work()
            broken = False
        finally:
            if broken:  # it would be swallowed by the pool, and its job beaten for ever
                log.critical("A thread of the remote lane broke; exiting hard", exc_info=True)
                exit_hard(EXIT_BROKEN)
            self._room.release()
