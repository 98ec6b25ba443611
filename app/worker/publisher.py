"""Publisher thread: encodes and saves results, so that the next job does not wait for the disk."""

from __future__ import annotations

import contextlib
import logging
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.core.job import Phase
from app.process.threads import BackgroundThread
from app.services.context import AppContext
from app.services.media.publish import GenerationResult, publish
from app.worker.running_job import RunningJob

log = logging.getLogger("cyberimage.worker")


@dataclass(frozen=True)
class Finished:
    """A finished generation, queued for saving."""

    job: RunningJob
    made: GenerationResult


class Publisher(BackgroundThread):
    """Calls `on_done(job, error)` after each publication; `error` is what it raised, None after a success."""

    def __init__(self, context: AppContext, on_done: Callable[[RunningJob, BaseException | None], None]) -> None:
        super().__init__("publisher")
        self._context = context
        self._on_done = on_done
        # Bounded to one: images are large, and a disk slower than the GPU must slow the GPU down.
        self._queue: queue.Queue[Finished | None] = queue.Queue(maxsize=1)

    def put(self, finished: Finished) -> None:
        self._queue.put(finished)

    def finish(self, timeout: float) -> None:
        """Publish what is queued, then end the thread. Jobs not published within `timeout` seconds are requeued by the
        lease expiry."""
        give_up_at = time.monotonic() + timeout
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=timeout)
        self.join(max(0.0, give_up_at - time.monotonic()))
        if self.is_alive():
            log.error("A publication did not end in time; its job is requeued when its lease expires")

    def work(self) -> None:
        while (finished := self._queue.get()) is not None:
            self._publish(finished)
            del finished  # or its images would stay in memory until the next job

    def _publish(self, finished: Finished) -> None:
        error: BaseException | None = None
        started = time.perf_counter()
        try:
            publish(self._context, finished.job.claim, finished.made)
        except Exception as raised:  # noqa: BLE001 - the job must end with a status
            error = raised
        finished.job.timings[Phase.SAVING.value] = time.perf_counter() - started
        self._on_done(finished.job, error)
