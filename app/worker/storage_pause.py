"""Holds back claims while pictures cannot be written: each job would be generated and lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from app.core.backoff import Backoff

PAUSE = Backoff(first=1.0, longest=15.0)

log = logging.getLogger("cyberimage.worker")


class Probed(Protocol):
    def problem(self, max_age: float) -> str | None: ...


class StoragePause:
    """Begins with a write that `failed`; ends when a probe of `storage` succeeds. Probes with growing intervals."""

    def __init__(self, storage: Probed, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._clock = clock
        self._probes = 0  # 0: no write has failed since the last successful probe
        self._probe_at = 0.0

    def failed(self) -> None:
        """A write has failed: probe before the next claim."""
        if not self._probes:
            self._probes, self._probe_at = 1, self._clock()

    def holds(self) -> bool:
        """Whether no job should be claimed now."""
        if not self._probes:
            return False
        if self._clock() < self._probe_at:
            return True
        problem = self._storage.problem(0.0)
        if problem is None:
            if self._probes > 1:
                log.info("Pictures can be written again")
            self._probes = 0
            return False
        if self._probes == 1:
            log.error("No job is claimed while pictures cannot be written (%s)", problem)
        self._probe_at = self._clock() + PAUSE.seconds(self._probes)
        self._probes += 1
        return True
