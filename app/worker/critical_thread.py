"""Threads that a worker cannot live without, and how a worker dies when one breaks.

A worker without its keeper would hold jobs that nobody beats for; one without its publisher would never end one. Better
no worker at all: its leases run out, its jobs are rescued, and the supervisor starts a fresh process.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import NoReturn

EXIT_BROKEN = 72

log = logging.getLogger("cyberimage.worker")


class CriticalThread(threading.Thread):
    """Does `work` and, when that raises, ends the process at once."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)

    def work(self) -> None:
        raise NotImplementedError

    def run(self) -> None:
        broken = True
        try:
            self.work()
            broken = False
        finally:  # not `except`: whatever it was, it is not handled here
            if broken:
                log.critical("The %s broke; exiting hard", self.name, exc_info=True)
                exit_hard(EXIT_BROKEN)


def exit_hard(status: int) -> NoReturn:
    """End this process now, without waiting for any thread."""
    logging.shutdown()
    os._exit(status)
