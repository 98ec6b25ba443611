"""A job that this worker holds: what the engine reports about it, and the reasons to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.core.job import STOP_GRACE_SECONDS, Claim, Phase, Progress
from app.core.prediction import Prediction, Report
from app.core.safety import SafetyResult
from app.engines.base import Ledger, Pixels
from app.monitoring.failpoints import failpoint
from app.store.queue.predictions import AlreadyTaken, PredictionStore


class StopReason(StrEnum):
    """Why a running job should stop, in the order of what decides."""

    LOST = "lost"  # somebody else owns it: touch nothing
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # past its deadline
    DRAINING = "draining"  # the worker is to go: give it back


@dataclass(frozen=True)
class PendingPreview:
    """A preview after `step` steps."""

    pixels: Pixels
    step: int


class StepRate:
    """How many seconds a step takes: the average since drawing began, without the time between two pictures."""

    def __init__(self) -> None:
        self._begun: tuple[int, float] | None = None  # the step and time that are counted from
        self._seconds: float | None = None

    def after(self, phase: Phase, step: int) -> float | None:
        """Note that `step` steps are done by now; gives the seconds per step, None before there was one."""
        if phase is not Phase.GENERATING:
            self._begun = None
        elif self._begun is None or step < self._begun[0]:
            self._begun = (step, time.monotonic())
        elif step > self._begun[0]:
            self._seconds = (time.monotonic() - self._begun[1]) / (step - self._begun[0])
        return self._seconds


class RunningJob:
    """The engine's `Control`. The engine's thread writes it, the keeper's reads it: both swap whole values.

    Past `deadline` the job is asked to stop; at `hard_deadline` its lease has run out and the worker must be gone.
    """

    def __init__(self, claim: Claim, predictions: PredictionStore | None = None) -> None:
        self.claim = claim
        self._predictions = predictions
        self.news = threading.Event()  # something about it changed: a webhook came, or it is to stop
        self.started = time.monotonic()
        self.hard_deadline = self.started + claim.deadline_in
        self.deadline = self.hard_deadline - STOP_GRACE_SECONDS
        self.progress = Progress(Phase.STARTING, 0, claim.request.steps_run)
        self.written = self.progress  # what the database knows; the keeper's own note
        self.preview_shown: PendingPreview | None = None  # not yet written
        self.had_preview = False
        self.stop_reason: StopReason | None = None
        self.timings = {"queued": claim.queued_seconds}  # seconds by phase, as they become known
        self.vram_peak_bytes = 0
        self.safety = SafetyResult.SKIPPED
        self._pace = StepRate()
        self._lock = threading.Lock()

    def report(self, phase: Phase, step: int = 0, total_steps: int = 0) -> None:
        if phase is Phase.GENERATING:
            failpoint("mid_generation")
        pace = self._pace.after(phase, step)
        self.progress = Progress(phase, step, total_steps or self.claim.request.steps_run, pace)

    def downloaded(self, done: int, total: int) -> None:
        steps = self.claim.request.steps_run
        self.progress = Progress(Phase.DOWNLOADING, 0, steps, downloaded_bytes=done, total_bytes=total)

    def preview(self, pixels: Pixels, step: int) -> None:
        self.preview_shown = PendingPreview(pixels, step)

    def cancelled(self) -> bool:
        return self.stop_reason is not None

    def stop(self, reason: StopReason) -> None:
        """Ask the job to stop; a graver reason replaces a lighter one."""
        order = list(StopReason)
        with self._lock:
            if self.stop_reason is None or order.index(reason) < order.index(self.stop_reason):
                self.stop_reason = reason
        self.news.set()

    @property
    def ledger(self) -> Ledger:
        """Where a remote engine writes down what must outlive this process."""
        if self._predictions is None:
            raise RuntimeError("this job has no ledger")
        return JobLedger(self, self._predictions)


class MergedJob(RunningJob):
    """One of several jobs in one call. When it is to stop it leaves at once, through `leave`; after the one write that
    this takes the others go on."""

    def __init__(self, claim: Claim, leave: Callable[[RunningJob], None]) -> None:
        super().__init__(claim)
        self._leave = leave
        self.gone = False

    def cancelled(self) -> bool:
        if self.stop_reason is not None and not self.gone:
            self.gone = True
            self._leave(self)
        return self.gone


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
        if self._job.news.wait(seconds):
            self._job.news.clear()
