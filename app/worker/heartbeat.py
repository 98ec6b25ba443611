"""Background thread: renews job leases, writes progress and previews, detects cancellation while the engine runs.

It uses its own database connection. Deadlines are enforced by the watchdog.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from app.errors import DatabaseUnavailable
from app.files.images import encode_thumbnail
from app.monitoring.fault_log import database_faults
from app.process.threads import BackgroundThread
from app.services.context import AppContext
from app.store.queue.claims import HeartbeatResult
from app.store.queue.previews import Preview
from app.store.queue.workers import WorkerReport
from app.worker.job_log import MetricsBuffer
from app.worker.running_job import RunningJob, StopReason

log = logging.getLogger("cyberimage.worker")

TICK_SECONDS = 0.1


class Heartbeat(BackgroundThread):
    """`report` returns the worker's row, written with each heartbeat; so are the metrics in `counts`."""

    def __init__(self, context: AppContext, report: Callable[[], WorkerReport], counts: MetricsBuffer) -> None:
        super().__init__("heartbeat")
        self._context = context
        self._counts = counts
        self._report = report
        self._jobs: dict[str, RunningJob] = {}
        self._changed = threading.Condition()
        self._writing_row = threading.Lock()
        self._stopping = self._releasing = False
        self._last_beat = float("-inf")

    def add(self, job: RunningJob) -> None:
        with self._changed:
            self._jobs[job.claim.job_id] = job
            if self._releasing:  # it was claimed before, on a thread that begins only now
                job.stop(StopReason.DRAINING)
            self._changed.notify()

    def remove(self, job: RunningJob) -> None:
        with self._changed:
            if self._jobs.get(job.claim.job_id) is job:  # not a later attempt of the same job
                del self._jobs[job.claim.job_id]

    def release_jobs(self) -> None:
        """Have the running jobs stop and go back to the queue, and those that begin from now on."""
        with self._changed:
            self._releasing = True
            for job in self._jobs.values():
                job.stop(StopReason.DRAINING)

    def jobs(self) -> list[RunningJob]:
        with self._changed:
            return list(self._jobs.values())

    def request_beat(self) -> None:
        """Write the worker's row at the next tick, because its state changed."""
        with self._changed:
            self._last_beat = float("-inf")
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def work(self) -> None:
        while not self._stopping:
            try:
                self._tick()
            except DatabaseUnavailable as error:  # the lease is long enough for several more tries
                database_faults.add(log, logging.WARNING, "No heartbeat reached the database: %s", error.detail)
            with self._changed:
                if not self._stopping:
                    beat_due = self._last_beat + self._context.settings.heartbeat_seconds - time.monotonic()
                    self._changed.wait(TICK_SECONDS if self._jobs else max(TICK_SECONDS, beat_due))

    def _tick(self) -> None:
        if time.monotonic() - self._last_beat >= self._context.settings.heartbeat_seconds:
            self._last_beat = time.monotonic()
            self._beat()
        for job in self.jobs():
            self._write_progress(job)

    def _beat(self) -> None:
        jobs = self.jobs()
        if jobs:
            beats = self._context.claims.heartbeat([job.claim for job in jobs])
            for job in jobs:
                _apply_result(job, beats[job.claim.job_id])
        self.write_row()
        self.write_counts()

    def write_row(self) -> None:
        """Write the worker's own row. Serialised: an older state must not overwrite a newer one."""
        with self._writing_row:
            self._context.workers.heartbeat(self._report())

    def write_counts(self) -> None:
        """Write the buffered metrics to the database; what cannot be written stays buffered. Raises
        DatabaseUnavailable."""
        counted = self._counts.take()
        try:
            self._context.counters.add(counted)
        except DatabaseUnavailable:
            self._counts.add(counted)
            raise

    def _write_progress(self, job: RunningJob) -> None:
        """Write what changed since the last tick; check for cancellation in either case."""
        claim, progress = job.claim, job.progress
        self._write_preview(job)
        if progress != job.written or (job.drawing and not job.deadline_written):
            moved = job.drawing and not job.deadline_written
            deadline_in = job.hard_deadline - time.monotonic() if moved else None
            beat = self._context.claims.progress(claim, progress, deadline_in=deadline_in)
            job.written, job.deadline_written = progress, job.deadline_written or moved
            self._context.notifications.publish("news", claim.job_id)
        else:
            beat = self._context.claims.check(claim)
        _apply_result(job, beat)

    def _write_preview(self, job: RunningJob) -> None:
        preview, job.pending_preview = job.pending_preview, None
        if preview is not None:
            webp = encode_thumbnail(preview.pixels)
            self._context.previews.put(job.claim.job_id, Preview(job.claim.attempt, preview.step, webp))
            job.had_preview = True


def _apply_result(job: RunningJob, beat: HeartbeatResult) -> None:
    if not beat.owned:
        job.stop(StopReason.LOST)
    elif beat.cancel_requested:
        job.stop(StopReason.CANCELLED)
