"""Log lines of a fault that many calls run into at once, such as a database that is away: one per interval and process,
with a count of what was left out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

INTERVAL_SECONDS = 10.0


class FaultLog:
    """Thread-safe. `end` is logged once the fault has not occurred for an interval and something works again."""

    def __init__(self, end: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._end = end
        self._clock = clock
        self._lock = threading.Lock()
        self._logged_at = self._occurred_at = float("-inf")
        self._left_out = 0
        self.active = False  # for callers that must not take the lock each time

    def add(
        self, log: logging.Logger, level: int, message: str, *args: Any, extra: Mapping[str, Any] | None = None
    ) -> None:
        """Log the fault, unless a line of it was logged within the interval."""
        with self._lock:
            now = self._clock()
            self.active, self._occurred_at = True, now
            if now - self._logged_at < INTERVAL_SECONDS:
                self._left_out += 1
                return
            self._logged_at = now
            text = (message % args if args else message) + self._count()
        log.log(level, "%s", text, extra=extra)

    def ended(self, log: logging.Logger) -> None:
        """Note that it works again."""
        if not self.active:
            return
        with self._lock:
            if not self.active or self._clock() - self._occurred_at < INTERVAL_SECONDS:
                return
            self.active, self._logged_at = False, float("-inf")
            text = self._end + self._count()
        log.info("%s", text)

    def _count(self) -> str:
        left_out, self._left_out = self._left_out, 0
        return f" ({left_out} messages like this were left out)" if left_out else ""


database_faults = FaultLog("The database answers again")  # of this process
