"""Watchdog thread: stops jobs past their deadline, and exits the process when a job does not stop.

It uses neither the database nor the engine, so that neither can block it. C code that never releases the GIL would
block every Python thread, this one too; `time_limit` covers that case with a timer in C.
"""

from __future__ import annotations

import faulthandler
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from app.process.threads import EXIT_STUCK, BackgroundThread, exit_hard
from app.worker.running_job import RunningJob, StopReason

log = logging.getLogger("cyberimage.worker")

LOOK_EVERY_SECONDS = 0.2
LOOK_WHEN_IDLE_SECONDS = 1.0
INTERPRETER_GRACE_SECONDS = 2.0  # longer than a look: if Python still runs, the watchdog exits first and logs why


class HasDeadline(Protocol):
    """`hard_deadline` is in seconds of `time.monotonic`."""

    hard_deadline: float


class Watchdog(BackgroundThread):
    """`jobs` returns the jobs that this worker is running."""

    def __init__(self, jobs: Callable[[], Sequence[RunningJob]]) -> None:
        super().__init__("watchdog")
        self._jobs = jobs
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def work(self) -> None:
        pause = LOOK_WHEN_IDLE_SECONDS
        while not self._stopping.wait(pause):
            jobs = self._jobs()
            for job in jobs:
                self._check(job)
            pause = LOOK_EVERY_SECONDS if jobs else LOOK_WHEN_IDLE_SECONDS

    def _check(self, job: RunningJob) -> None:
        now = time.monotonic()
        if now >= job.deadline:
            job.stop(StopReason.EXPIRED)
        if now >= job.hard_deadline:
            log.critical(
                "The job did not stop after its deadline (%s); exiting the process",
                "JOB_TIMEOUT_SECONDS" if job.drawing else "LOAD_TIMEOUT_SECONDS",
                extra={"job_id": job.claim.job_id},
            )
            exit_hard(EXIT_STUCK)


@contextmanager
def unlimited(_: HasDeadline) -> Iterator[None]:
    """No limit, for concurrent jobs: `time_limit` has one timer per process. Remote jobs run no C code that could hang;
    the watchdog covers the rest."""
    yield


@contextmanager
def time_limit(work: HasDeadline) -> Iterator[None]:
    """Dump all stacks and exit the process when the block runs past the hard deadline of `work`, which may move."""

    def arm() -> None:
        left = work.hard_deadline - time.monotonic()
        faulthandler.dump_traceback_later(max(0.0, left) + INTERPRETER_GRACE_SECONDS, exit=True)

    arm()
    if isinstance(work, RunningJob):
        work.deadline_moved = arm
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
