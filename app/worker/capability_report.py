"""Reads again and again what this worker can run. On a thread of its own: a disk that hangs must not hold the
heartbeat."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from app.core.worker_capabilities import Capabilities
from app.errors import DatabaseUnavailable
from app.process.threads import BackgroundThread

REPORT_SECONDS = 15.0
SOONEST_SECONDS = 1.0  # between two readings, however often one is asked for
LOAD_SHARE = 20  # a reading that takes long is followed by a pause of so many times that

log = logging.getLogger("cyberimage.worker")


class CapabilityReport(BackgroundThread):
    """`read` reads the disk; `changed` is called when the answer is another one than before."""

    def __init__(self, read: Callable[[], Capabilities], changed: Callable[[], None]) -> None:
        super().__init__("capabilities")
        self._read = read
        self._changed = changed
        self._asked = threading.Event()
        self._stopped = threading.Event()
        self.current: Capabilities | None = None

    def update(self) -> None:
        """Read now, on the thread that asks. What cannot be read stays as it was."""
        try:
            found = self._read()
        except DatabaseUnavailable as error:
            log.warning("Cannot read what this worker can run, so it is not reported anew: %s", error.detail)
            return
        except Exception:  # no file of somebody's folders may end the worker
            log.exception("Cannot read what this worker can run, so it is not reported anew")
            return
        if self.current is None or found.digest != self.current.digest:
            self.current = found
            self._changed()

    def ask(self) -> None:
        """Have it read again soon: a job waits for a file that may be new here."""
        self._asked.set()

    def stop(self) -> None:
        self._stopped.set()
        self._asked.set()

    def work(self) -> None:
        while True:
            self._asked.wait(REPORT_SECONDS)
            self._asked.clear()
            if self._stopped.is_set():
                return
            began = time.monotonic()
            self.update()
            if self._stopped.wait(max(SOONEST_SECONDS, LOAD_SHARE * (time.monotonic() - began))):
                return
