"""The watchdog: stops jobs that are past their deadline, and the whole process when one does not obey.

It touches neither the database nor the engine, so that neither can hang it. A process in which no Python thread can run
any more (C code that never gives the interpreter back) is ended by faulthandler's timer, which is a thread of C.
"""

from __future__ import annotations

import faulthandler
import threading
import time
from collections.abc import Callable, Sequence

from app.worker.held import HeldJob, Stop
from app.worker.vital import VitalThread, exit_hard, log

LOOK_EVERY_SECONDS = 0.2
INTERPRETER_GRACE_SECONDS = 5.0  # more than a look: a process that can still run Python ends itself, and says why
EXIT_STUCK = 70


class Watchdog(VitalThread):
    """`held` gives the jobs in this worker's hands."""

    def __init__(self, held: Callable[[], Sequence[HeldJob]]) -> None:
        super().__init__("watchdog")
        self._held = held
        self._stopping = threading.Event()
        self._timer_at = 0.0  # when the C timer would go off; 0 = it is not set

    def stop(self) -> None:
        self._stopping.set()

    def work(self) -> None:
        while not self._stopping.wait(LOOK_EVERY_SECONDS):
            jobs = self._held()
            for job in jobs:
                self._look_at(job)
            self._set_timer(jobs)
        self._set_timer(())

    def _look_at(self, job: HeldJob) -> None:
        now = time.monotonic()
        if now >= job.deadline:
            job.stop(Stop.EXPIRED)
        if now >= job.hard_deadline:
            log.critical("Stuck past the job's deadline; exiting hard", extra={"job_id": job.claim.job_id})
            exit_hard(EXIT_STUCK)

    def _set_timer(self, jobs: Sequence[HeldJob]) -> None:
        at = max((job.hard_deadline for job in jobs), default=0.0)
        if at == self._timer_at:
            return
        self._timer_at = at
        if at:
            faulthandler.dump_traceback_later(at - time.monotonic() + INTERPRETER_GRACE_SECONDS, exit=True)
        else:
            faulthandler.cancel_dump_traceback_later()
