"""The keeper: a thread that keeps the worker's promises while the engine is busy.

It extends leases (on its own connection), writes progress and learns of cancels. Deadlines are the watchdog's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from app.errors import DatabaseUnavailable
from app.files.images import encode_thumbnail
from app.services.context import AppContext
from app.store.queue.claims import HeartbeatResult
from app.store.queue.previews import Preview
from app.store.queue.workers import WorkerReport
from app.worker.critical_thread import CriticalThread, log
from app.worker.metrics_buffer import MetricsBuffer
from app.worker.running_job import RunningJob, StopReason

TICK_SECONDS = 0.1


class Heartbeat(CriticalThread):
    """`describe` gives the worker's own row for the heartbeat; `counts` are written with it."""

    def __init__(self, context: AppContext, describe: Callable[[], WorkerReport], counts: MetricsBuffer) -> None:
        super().__init__("keeper")
        self._context = context
        self._counts = counts
        self._describe = describe
        self._held: dict[str, RunningJob] = {}
        self._changed = threading.Condition()
        self._writing_row = threading.Lock()
        self._stopping = False
        self._last_beat = float("-inf")

    def hold(self, job: RunningJob) -> None:
        with self._changed:
            self._held[job.claim.job_id] = job
            self._changed.notify()

    def let_go(self, job: RunningJob) -> None:
        with self._changed:
            if self._held.get(job.claim.job_id) is job:  # not a later attempt of the same job
                del self._held[job.claim.job_id]

    def held(self) -> list[RunningJob]:
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

    def work(self) -> None:
        while not self._stopping:
            try:
                self._tick()
            except DatabaseUnavailable as error:  # the lease runs on; there is time for several more tries
                log.warning("The keeper could not reach the database: %s", error.detail)
            with self._changed:
                if not self._stopping:
                    beat_due = self._last_beat + self._context.settings.heartbeat_seconds - time.monotonic()
                    self._changed.wait(TICK_SECONDS if self._held else max(TICK_SECONDS, beat_due))

    def _tick(self) -> None:
        if time.monotonic() - self._last_beat >= self._context.settings.heartbeat_seconds:
            self._last_beat = time.monotonic()
            self._beat()
        for job in self.held():
            self._write_progress(job)

    def _beat(self) -> None:
        held = self.held()
        if held:
            beats = self._context.claims.heartbeat([job.claim for job in held])
            for job in held:
                _heed(job, beats[job.claim.job_id])
        self.write_row()
        self.write_counts()

    def write_row(self) -> None:
        """Write the worker's own row. One at a time: what was seen earlier must not be written later."""
        with self._writing_row:
            self._context.workers.heartbeat(self._describe())

    def write_counts(self) -> None:
        """Put what was counted into the database; what cannot be written waits for the next time."""
        counted = self._counts.take()
        try:
            self._context.counters.add(counted)
        except DatabaseUnavailable:
            self._counts.add(counted)
            raise

    def _write_progress(self, job: RunningJob) -> None:
        """Write what changed since the last tick; look for a cancel either way."""
        claim, progress = job.claim, job.progress
        self._write_preview(job)
        if progress != job.written:
            beat = self._context.claims.progress(claim, progress)
            job.written = progress
            self._context.notifications.publish("news", claim.job_id)
        else:
            beat = self._context.claims.check(claim)
        _heed(job, beat)

    def _write_preview(self, job: RunningJob) -> None:
        shown, job.preview_shown = job.preview_shown, None
        if shown is not None:
            webp = encode_thumbnail(shown.pixels)
            self._context.previews.put(job.claim.job_id, Preview(job.claim.attempt, shown.step, webp))
            job.had_preview = True


def _heed(job: RunningJob, beat: HeartbeatResult) -> None:
    if not beat.owned:
        job.stop(StopReason.LOST)
    elif beat.cancel_requested:
        job.stop(StopReason.CANCELLED)
