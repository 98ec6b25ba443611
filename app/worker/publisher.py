"""The publisher: encodes and saves on its own thread, so that the next job's first step does not wait for a disk."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.core.job import Phase
from app.services.context import AppContext
from app.services.media.publish import GenerationResult, publish
from app.worker.critical_thread import CriticalThread, log
from app.worker.running_job import RunningJob


@dataclass(frozen=True)
class Finished:
    """A generation on its way to the disk."""

    job: RunningJob
    made: GenerationResult


class Publisher(CriticalThread):
    """`settle(job, error)` ends a job whose publication raised `error`, or tidies up after a success (None)."""

    def __init__(self, context: AppContext, settle: Callable[[RunningJob, BaseException | None], None]) -> None:
        super().__init__("publisher")
        self._context = context
        self._settle = settle
        # One waiting: pictures are large, and a disk slower than the GPU must slow the GPU down.
        self._queue: queue.Queue[Finished | None] = queue.Queue(maxsize=1)

    def put(self, finished: Finished) -> None:
        self._queue.put(finished)

    def finish(self, timeout: float) -> None:
        """Publish what is waiting, then end the thread. What takes longer than `timeout` is left to the rescue."""
        give_up_at = time.monotonic() + timeout
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=timeout)
        self.join(max(0.0, give_up_at - time.monotonic()))
        if self.is_alive():
            log.error("A publication did not end in time; its job will be rescued")

    def work(self) -> None:
        while (finished := self._queue.get()) is not None:
            self._publish(finished)
            del finished  # or its pictures would stay in memory until the next ones

    def _publish(self, finished: Finished) -> None:
        error: BaseException | None = None
        started = time.perf_counter()
        try:
            publish(self._context, finished.job.claim, finished.made)
        except Exception as raised:  # noqa: BLE001 - whatever it is, the job must end with a status
            error = raised
        finished.job.timings[Phase.SAVING.value] = time.perf_counter() - started
        self._settle(finished.job, error)
