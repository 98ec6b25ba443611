"""The watchdog: stops jobs that are past their deadline, and the whole process when one does not obey.

It touches neither the database nor the engine, so that neither can hang it. C code that never gives the interpreter
back would hang every Python thread, this one too: against that stands `time_limit`, whose timer is a thread of C.
"""

from __future__ import annotations

import faulthandler
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from app.worker.critical_thread import CriticalThread, exit_hard, log
from app.worker.running_job import RunningJob, StopReason

LOOK_EVERY_SECONDS = 0.2
LOOK_WHEN_IDLE_SECONDS = 1.0
INTERPRETER_GRACE_SECONDS = 2.0  # more than a look: who can still run Python ends by itself, and says why
EXIT_STUCK = 70


class HasDeadline(Protocol):
    """`hard_deadline` is of the monotonic clock."""

    hard_deadline: float


class Watchdog(CriticalThread):
    """`held` gives the jobs in this worker's hands."""

    def __init__(self, held: Callable[[], Sequence[RunningJob]]) -> None:
        super().__init__("watchdog")
        self._held = held
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def work(self) -> None:
        pause = LOOK_WHEN_IDLE_SECONDS
        while not self._stopping.wait(pause):
            held = self._held()
            for job in held:
                self._look_at(job)
            pause = LOOK_EVERY_SECONDS if held else LOOK_WHEN_IDLE_SECONDS

    def _look_at(self, job: RunningJob) -> None:
        now = time.monotonic()
        if now >= job.deadline:
            job.stop(StopReason.EXPIRED)
        if now >= job.hard_deadline:
            log.critical("Stuck past the job's deadline; exiting hard", extra={"job_id": job.claim.job_id})
            exit_hard(EXIT_STUCK)


@contextmanager
def unlimited(_: HasDeadline) -> Iterator[None]:
    """For jobs side by side, which `time_limit` cannot tell apart. They run no C code that could hang; the watchdog
    sees to the rest."""
    yield


@contextmanager
def time_limit(work: HasDeadline) -> Iterator[None]:
    """End the process, saying where it hung, when the block goes on past the hard deadline of `work`."""
    left = work.hard_deadline - time.monotonic()
    faulthandler.dump_traceback_later(max(0.0, left) + INTERPRETER_GRACE_SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
