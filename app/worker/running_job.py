"""In-memory state of a claimed job: progress reported by the engine and the pending stop reason."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.core.job import STOP_GRACE_SECONDS, Claim, Phase, Progress
from app.core.memory_use import MemoryChange
from app.core.prediction import Prediction, Report
from app.core.safety import SafetyResult
from app.engines.base import Ledger, Pixels
from app.monitoring.failpoints import failpoint
from app.store.queue.predictions import AlreadyTaken, PredictionStore
from app.worker.job_trace import JobTrace

_DRAWING = (Phase.ENCODING, Phase.GENERATING, Phase.DECODING)


class StopReason(StrEnum):
    """Why a running job should stop, most important first."""

    LOST = "lost"  # the lease is another worker's: write nothing
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # past its deadline
    DRAINING = "draining"  # the worker stops: requeue the job


@dataclass(frozen=True)
class PendingPreview:
    """A preview after `step` steps, not yet written to the database."""

    pixels: Pixels
    step: int


class StepRate:
    """Average seconds per denoising step, without the time between two images."""

    def __init__(self) -> None:
        self._begun: tuple[int, float] | None = None  # the step and time that are counted from
        self._seconds: float | None = None

    def update(self, phase: Phase, step: int) -> float | None:
        """Record that `step` steps are done; returns the seconds per step, None before the first one."""
        if phase is not Phase.GENERATING:
            self._begun = None
        elif self._begun is None or step < self._begun[0]:
            self._begun = (step, time.monotonic())
        elif step > self._begun[0]:
            self._seconds = (time.monotonic() - self._begun[1]) / (step - self._begun[0])
        return self._seconds


class RunningJob:
    """The engine's `Control`. Written by the engine's thread, read by the heartbeat's; attributes are replaced whole.

    Past `deadline` the job is asked to stop; at `hard_deadline` its lease has expired and the process must have exited.
    Both move once, when the model is loaded and `drawing` begins; `deadline_moved` is called then.
    """

    def __init__(self, claim: Claim, predictions: PredictionStore | None = None) -> None:
        self.claim = claim
        self._predictions = predictions
        self.wakeup = threading.Event()  # set on a notification, such as a webhook, and on a stop
        self.started = time.monotonic()
        self.trace = JobTrace(claim)
        self.drawing = not claim.load_seconds
        load = claim.load_seconds + STOP_GRACE_SECONDS
        self.hard_deadline = self.started + (claim.deadline_in if self.drawing else load)
        self.deadline = self.hard_deadline - STOP_GRACE_SECONDS
        self.deadline_written = self.drawing  # whether the database has the present one; used by the heartbeat only
        self.deadline_moved: Callable[[], None] = lambda: None
        self.progress = Progress(Phase.STARTING, 0, claim.request.steps_run)
        self.written = self.progress  # what the database has; used by the heartbeat only
        self.pending_preview: PendingPreview | None = None
        self.had_preview = False
        self.stop_reason: StopReason | None = None
        self.timings = {"queued": claim.queued_seconds}  # seconds by phase, as they become known
        self.vram_peak_bytes: int | None = None  # without a GPU
        self.made = 0  # pictures and videos
        self.memory: MemoryChange | None = None  # by the engine's call
        self.safety = SafetyResult.SKIPPED
        self.seed = claim.request.seed if claim.request.remote is None else None  # of a provider's: once it was sent
        self._step_rate = StepRate()
        self._lock = threading.Lock()

    def report(self, phase: Phase, step: int = 0, total_steps: int = 0) -> None:
        if not self.drawing and phase in _DRAWING:
            self.hard_deadline = time.monotonic() + self.claim.deadline_in - self.claim.load_seconds
            self.deadline = self.hard_deadline - STOP_GRACE_SECONDS
            self.drawing = True
            self.deadline_moved()
        if phase is Phase.GENERATING:
            failpoint("mid_generation")
        self.trace.enter(phase)
        rate = self._step_rate.update(phase, step)
        self.progress = Progress(phase, step, total_steps or self.claim.request.steps_run, rate)

    def downloaded(self, done: int, total: int) -> None:
        steps = self.claim.request.steps_run
        self.trace.enter(Phase.DOWNLOADING)
        self.progress = Progress(Phase.DOWNLOADING, 0, steps, downloaded_bytes=done, total_bytes=total)

    def preview(self, pixels: Pixels, step: int) -> None:
        self.pending_preview = PendingPreview(pixels, step)

    def cancelled(self) -> bool:
        return self.stop_reason is not None

    def stop(self, reason: StopReason) -> None:
        """Ask the job to stop; a more important reason replaces a less important one."""
        order = list(StopReason)
        with self._lock:
            if self.stop_reason is None or order.index(reason) < order.index(self.stop_reason):
                self.stop_reason = reason
        self.wakeup.set()

    @property
    def ledger(self) -> Ledger:
        """The persistent record of this job's prediction, for remote engines."""
        if self._predictions is None:
            raise RuntimeError("this job has no ledger")
        return JobLedger(self, self._predictions)


class MergedJob(RunningJob):
    """A job merged with others into one call. When stopped it ends at once, through `on_stop`, while the others
    continue after that one write."""

    def __init__(self, claim: Claim, on_stop: Callable[[RunningJob], None]) -> None:
        super().__init__(claim)
        self._on_stop = on_stop
        self.ended = False

    def cancelled(self) -> bool:
        if self.stop_reason is not None and not self.ended:
            self.ended = True
            self._on_stop(self)
        return self.ended


class JobLedger:
    """The engine's `Ledger`: the predictions of one job, written under its claim."""

    def __init__(self, job: RunningJob, store: PredictionStore) -> None:
        self._job = job
        self._store = store

    def find(self) -> Prediction | None:
        return self._store.of_job(self._job.claim.job_id)

    def intend(self, *, source: str, model: str, input: Mapping[str, Any]) -> Prediction:
        return self._store.intend(self._job.claim, source=source, model=model, input=input)

    def created(self, prediction: Prediction, provider_id: str) -> bool:
        try:
            self._store.created(self._job.claim, prediction, provider_id)
        except AlreadyTaken:
            return False
        return True

    def taken(self, source: str, provider_ids: Sequence[str]) -> Collection[str]:
        return self._store.taken(source, list(provider_ids))

    def observed(self, source: str, report: Report) -> None:
        self._store.observed(source, report)

    def note_download(self, prediction: Prediction, *, retries: int, error: str | None) -> None:
        self._store.note_download(self._job.claim, prediction, retries=retries, error=error)

    def wanted(self) -> bool:
        return self._job.stop_reason not in (StopReason.CANCELLED, StopReason.EXPIRED)

    def wait(self, seconds: float) -> None:
        if self._job.wakeup.wait(seconds):
            self._job.wakeup.clear()
