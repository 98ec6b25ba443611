"""The publisher: encodes and saves on its own thread, so that the next job's first step does not wait for a disk."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from app.services.installation import Installation
from app.services.publish import Made, publish
from app.worker.held import HeldJob

log = logging.getLogger("cyberimage.worker")


@dataclass(frozen=True)
class Finished:
    """A generation on its way to the disk."""

    job: HeldJob
    made: Made


class Publisher(threading.Thread):
    """`settle(job, error)` ends a job whose publication raised `error`, or tidies up after a success (None)."""

    def __init__(self, installation: Installation, settle: Callable[[HeldJob, BaseException | None], None]) -> None:
        super().__init__(name="publisher", daemon=True)
        self._installation = installation
        self._settle = settle
        # One waiting: pictures are large, and a disk slower than the GPU must slow the GPU down.
        self._queue: queue.Queue[Finished | None] = queue.Queue(maxsize=1)

    def put(self, finished: Finished) -> None:
        self._queue.put(finished)

    def finish(self, timeout: float) -> None:
        """Publish what is waiting, then end the thread."""
        self._queue.put(None)
        self.join(timeout)

    def run(self) -> None:
        while (finished := self._queue.get()) is not None:
            error: BaseException | None = None
            try:
                publish(self._installation, finished.job.claim, finished.made)
            except Exception as raised:  # noqa: BLE001 - whatever it is, the job must end with a status
                error = raised
            self._settle(finished.job, error)
