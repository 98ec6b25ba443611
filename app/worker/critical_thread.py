"""Base class of threads whose failure ends the worker process.

A worker without its heartbeat would lose its leases while it works; one without its publisher would never end a job.
When the process exits instead, its leases expire, its jobs are requeued and the supervisor starts a new process.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import NoReturn

EXIT_BROKEN = 72

log = logging.getLogger("cyberimage.worker")


class CriticalThread(threading.Thread):
    """Daemon thread that runs `work` and exits the process with EXIT_BROKEN when it raises."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)

    def work(self) -> None:
        raise NotImplementedError

    def run(self) -> None:
        broken = True
        try:
            self.work()
            broken = False
        finally:  # not `except`: no exception is handled here
            if broken:
                log.critical("The %s thread failed; exiting the process", self.name, exc_info=True)
                exit_hard(EXIT_BROKEN)


def exit_hard(status: int) -> NoReturn:
    """Exit this process immediately, without waiting for its threads."""
    logging.shutdown()
    os._exit(status)
