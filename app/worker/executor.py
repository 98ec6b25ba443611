"""Executors: how many jobs a worker runs concurrently, and on which threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from app.process.threads import ExitOnFailure

Work = Callable[[], None]


class JobExecutor(Protocol):
    slots: int

    def has_room(self, timeout: float) -> bool:
        """True if a slot is free; waits up to `timeout` seconds for one."""

    def submit(self, work: Work) -> None:
        """Run `work` inline or on a thread of the pool. A slot must be free."""

    def finish(self) -> None:
        """Wait for all submitted work."""


class InlineExecutor:
    """Runs one job at a time on the claiming thread: a model must only be used by one thread."""

    slots = 1

    def has_room(self, timeout: float) -> bool:
        return True

    def submit(self, work: Work) -> None:
        work()

    def finish(self) -> None:
        """No work is pending after `submit` returns."""


class ThreadedExecutor:
    """Pool of `slots` threads for remote jobs, which mostly wait for a provider."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._free_slots = threading.Semaphore(slots)
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="remote")

    def has_room(self, timeout: float) -> bool:
        if not self._free_slots.acquire(timeout=timeout):
            return False
        self._free_slots.release()
        return True

    def submit(self, work: Work) -> None:
        self._free_slots.acquire()
        self._threads.submit(self._run, work)

    def finish(self) -> None:
        self._threads.shutdown(wait=True)

    def _run(self, work: Work) -> None:
        with ExitOnFailure("remote lane"):  # or the heartbeat would renew the job's lease for ever
            work()
        self._free_slots.release()
