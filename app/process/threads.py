"""Background threads whose failure ends the process.

A worker without its heartbeat would lose its leases while it works, one without its publisher would never end a job, a
server without its event thread would leave its clients waiting. When the process exits instead, its supervisor starts a
new one, its leases expire and its jobs are requeued.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn

EXIT_BROKEN = 72
EXIT_STUCK = 70  # by the watchdog of a worker

log = logging.getLogger("cyberimage.process")


class BackgroundThread(threading.Thread):
    """Daemon thread that runs `work` once, and exits the process with EXIT_BROKEN when it raises.

    Subclasses with state of their own override `work`; others are given a function.
    """

    def __init__(self, name: str, work: Callable[[], None] | None = None) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work

    def work(self) -> None:
        if self._work is None:
            raise NotImplementedError
        self._work()

    def run(self) -> None:
        with ExitOnFailure(self.name):
            self.work()


class ExitOnFailure:
    """Exits the process with EXIT_BROKEN if its block raises: for threads of a pool, which would swallow the error."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            log.critical("The %s thread failed; exiting the process", self._name, exc_info=error)
            exit_hard(EXIT_BROKEN)


def exit_hard(status: int) -> NoReturn:
    """Exit this process immediately, without waiting for its threads."""
    logging.shutdown()
    os._exit(status)
