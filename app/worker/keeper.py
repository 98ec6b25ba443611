"""The keeper: a thread that keeps the worker's promises while the engine is busy.

It extends leases (on its own connection), writes progress, learns of cancels, and watches deadlines. A job past its
deadline is asked to stop; a worker that does not obey within HANG_GRACE_SECONDS is stuck, and exits hard, so that the
supervisor starts a fresh one and the job, whose lease was never extended past its deadline, is rescued.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from app.errors import DatabaseUnavailable
from app.services.installation import Installation
from app.store.workers import WorkerReport
from app.worker.held import HeldJob, Stop

TICK_SECONDS = 0.1
HANG_GRACE_SECONDS = 10.0
EXIT_STUCK = 70

log = logging.getLogger("cyberimage.worker")


class Keeper(threading.Thread):
    """`describe` gives the worker's own row for the heartbeat."""

    def __init__(self, installation: Installation, describe: Callable[[], WorkerReport]) -> None:
        super().__init__(name="keeper", daemon=True)
        self._installation = installation
        self._describe = describe
        self._held: dict[str, HeldJob] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._last_beat = float("-inf")

    def hold(self, job: HeldJob) -> None:
        with self._changed:
            self._held[job.claim.job_id] = job
            self._changed.notify()

    def let_go(self, job: HeldJob) -> None:
        with self._changed:
            self._held.pop(job.claim.job_id, None)

    def held(self) -> list[HeldJob]:
        with self._changed:
            return list(self._held.values())

    def beat_soon(self) -> None:
        """Write the worker's row anew at the next tick: its state changed."""
        with self._changed:
            self._last_beat = float("-inf")
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def run(self) -> None:
        while not self._stopping:
            try:
                self._tick()
            except DatabaseUnavailable as error:  # the lease runs on; there is time for several more tries
                log.warning("The keeper could not reach the database: %s", error.detail)
            self._watch_deadlines()
            with self._changed:
                if not self._stopping:
                    beat_due = self._last_beat + self._installation.settings.heartbeat_seconds - time.monotonic()
                    self._changed.wait(TICK_SECONDS if self._held else max(TICK_SECONDS, beat_due))

    def _tick(self) -> None:
        if time.monotonic() - self._last_beat >= self._installation.settings.heartbeat_seconds:
            self._last_beat = time.monotonic()
            self._beat()
        for job in self.held():
            self._write_progress(job)

    def _beat(self) -> None:
        held = self.held()
        for job_id, beat in self._installation.claims.heartbeat([job.claim for job in held]).items():
            self._heed(job_id, owned=beat.owned, cancel_requested=beat.cancel_requested)
        self._installation.workers.beat(self._describe())

    def _write_progress(self, job: HeldJob) -> None:
        """Write what changed since the last tick; look for a cancel either way."""
        claim, progress = job.claim, job.progress
        if progress != job.written:
            beat = self._installation.claims.progress(claim, progress)
            job.written = progress
            self._installation.bell.ring("news", claim.job_id)
        else:
            beat = self._installation.claims.look(claim)
        self._heed(claim.job_id, owned=beat.owned, cancel_requested=beat.cancel_requested)

    def _heed(self, job_id: str, *, owned: bool, cancel_requested: bool) -> None:
        with self._changed:
            job = self._held.get(job_id)
        if job is None:  # it ended between our question and the answer
            return
        if not owned and time.monotonic() < job.deadline:
            job.stop(Stop.LOST)
        elif cancel_requested:
            job.stop(Stop.CANCELLED)

    def _watch_deadlines(self) -> None:
        for job in self.held():
            overdue = time.monotonic() - job.deadline
            if overdue >= 0:
                job.stop(Stop.EXPIRED)
            if overdue >= HANG_GRACE_SECONDS:
                log.critical("Stuck past the job's deadline; exiting hard", extra={"job_id": job.claim.job_id})
                logging.shutdown()
                os._exit(EXIT_STUCK)
