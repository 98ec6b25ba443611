"""Writes the end of each job: completed, failed, cancelled, or back to the queue; and whether this process must end
after it."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Mapping, Sequence

from app.core.backoff import Backoff
from app.core.faults import is_out_of_memory
from app.core.job import JobStatus
from app.core.needs import needs_of
from app.errors import (
    Cancelled,
    CyberImageError,
    DatabaseUnavailable,
    DeviceFailed,
    GenerationError,
    GenerationTimeout,
    GpuRequired,
    LeaseLost,
    MediaUnavailable,
    NoRoom,
    OutOfMemory,
)
from app.services.context import AppContext
from app.store.queue.claims import BACKOFF_DOUBLINGS, BACKOFF_SECONDS
from app.worker import job_log
from app.worker.heartbeat import Heartbeat
from app.worker.job_log import MetricsBuffer
from app.worker.refusals import Refusals
from app.worker.running_job import MergedJob, RunningJob, StopReason
from app.worker.storage_pause import StoragePause

log = logging.getLogger("cyberimage.worker")


class JobFinalizer:
    """`refusals` is None in the remote lane. `must_recycle` is set when this process should be replaced, and
    `device_failed` when it must not use its device again until then. Thread-safe."""

    def __init__(
        self, context: AppContext, heartbeat: Heartbeat, counts: MetricsBuffer, refusals: Refusals | None = None
    ) -> None:
        self._context = context
        self._heartbeat = heartbeat
        self._counts = counts
        self._refusals = refusals
        self.storage_pause = StoragePause(context.images)
        self.must_recycle = False
        self.device_failed = False

    def note_device_failure(self) -> None:
        """This process must end without another use of its device."""
        self.must_recycle = self.device_failed = True

    def end(self, job: RunningJob, error: BaseException | None) -> None:
        """Write the job's end as `error` says (None: it was published), and stop renewing its lease."""
        job.trace.end(error)
        try:
            self._end(job, error)
        except LeaseLost:
            log.warning("The lease was lost; the job belongs to another worker now", extra=job_log.log_context(job))
        except DatabaseUnavailable as unreachable:  # the lease will run out, and the job is rescued
            log.error("The job's end could not be written: %s", unreachable.detail, extra=job_log.log_context(job))
        finally:
            self._heartbeat.remove(job)
            self._drop_preview(job)
            self._context.notifications.publish("news", job.claim.job_id)

    def _drop_preview(self, job: RunningJob) -> None:
        if job.had_preview:
            with contextlib.suppress(DatabaseUnavailable):  # maintenance does it later
                self._context.previews.remove(job.claim.job_id)

    def _end(self, job: RunningJob, error: BaseException | None) -> None:
        claims, claim = self._context.claims, job.claim
        if error is None:
            self._completed(job)
        elif isinstance(error, LeaseLost) or job.stop_reason is StopReason.LOST:
            raise LeaseLost(claim.job_id)
        elif isinstance(error, DeviceFailed):
            self._interrupt(job, error)
        elif isinstance(error, Cancelled) and job.stop_reason in _release_reasons(job):
            claims.release(claim)
            log.info("Returned to the queue", extra=job_log.log_context(job))
        elif isinstance(error, Cancelled) and job.stop_reason is StopReason.EXPIRED:
            self._fail(job, self._timeout_of(job))
        elif isinstance(error, Cancelled):
            claims.cancelled(claim)
            self._note_end(job, "cancelled")
        else:
            self._fail(job, error)

    def _timeout_of(self, job: RunningJob) -> GenerationTimeout:
        settings = self._context.settings
        if job.drawing:
            seconds = settings.job_timeout_seconds
            return GenerationTimeout(f"The job took longer than {seconds:g} seconds (JOB_TIMEOUT_SECONDS).")
        seconds = settings.load_timeout_seconds
        return GenerationTimeout(
            f"Loading the model took longer than {seconds:g} seconds (LOAD_TIMEOUT_SECONDS)."
            " What was downloaded is kept: send the job again."
        )

    def _fail(self, job: RunningJob, error: BaseException) -> None:
        claim, known = job.claim, to_public_error(error, job_log.log_context(job))
        self.must_recycle |= isinstance(known, OutOfMemory)
        if isinstance(known, (NoRoom, GpuRequired)) and self._leave_to_others(job, known):
            return
        passing = isinstance(known, DatabaseUnavailable) or (isinstance(known, GenerationError) and known.transient)
        counted = not isinstance(known, GenerationError) or known.counted
        transient = passing and (claim.attempt < claim.max_attempts or not counted)
        pause = (known.retry_after or _backoff(claim.attempt)) if transient else None
        if isinstance(known, MediaUnavailable):
            self.storage_pause.failed()
        status = self._context.claims.fail(claim, known, retry_in=pause, counted=counted)
        log.log(
            logging.WARNING if transient else logging.ERROR,
            "Attempt %s of %s ended with %s, now %s: %s",
            claim.attempt,
            claim.max_attempts,
            known.code,
            status.value,
            known.detail,
            extra=job_log.log_context(job),
        )
        if status is JobStatus.FAILED:
            self._note_end(job, known.code)

    def _leave_to_others(self, job: RunningJob, refusal: CyberImageError) -> bool:
        """Return a job to the queue whose model this device cannot run, uncounted; False if no other worker may run it.

        Each device refuses a model once, and then leaves its jobs alone: so the job comes back here only when all have
        refused it, or when a refusal has expired."""
        claim = job.claim
        if self._refusals is None or not self._refusals.add(needs_of(claim.request)):
            return False
        self._context.claims.release(claim)
        self._context.notifications.publish("work")
        log.warning("Left to another worker: %s", refusal.detail, extra=job_log.log_context(job))
        return True

    def _interrupt(self, job: RunningJob, error: DeviceFailed) -> None:
        self.note_device_failure()
        status = self._context.claims.interrupt(job.claim, error)
        log.error("Given back, now %s: %s", status.value, error.detail, extra=job_log.log_context(job))
        if status is JobStatus.FAILED:
            self._note_end(job, error.code)

    def _completed(self, job: RunningJob) -> None:
        request = job.claim.request
        images, steps = job.made, job.made * request.steps_run
        self._counts.completed(request.model_id, steps=steps, images=images, timings=job.timings)
        if isinstance(job, MergedJob):
            self._counts.merged(request.model_id)
        self._note_end(job, "completed")

    def _note_end(self, job: RunningJob, outcome: str) -> None:
        job_log.log_ended(job, outcome, show_prompt=self._context.settings.log_prompts)


def _release_reasons(job: RunningJob) -> Sequence[StopReason]:
    """Stop reasons after which the job is requeued. A merged job also when late: alone it might be in time."""
    return (StopReason.DRAINING, StopReason.EXPIRED) if isinstance(job, MergedJob) else (StopReason.DRAINING,)


def to_public_error(error: BaseException, context: Mapping[str, str]) -> CyberImageError:
    """`error` as one that may be shown to users; an unexpected one is logged with `context` and replaced."""
    if isinstance(error, CyberImageError):
        return error
    if is_out_of_memory(error):
        return OutOfMemory("Memory ran out. Request smaller or fewer images.")
    log.error("Unexpected error", exc_info=error, extra=context)
    return GenerationError("The generation failed unexpectedly; the details are in the server's errors.log.")


def _backoff(attempt: int) -> float:
    """Seconds before the next attempt: doubling, with jitter so that failures do not come back in step."""
    longest = BACKOFF_SECONDS * 2**BACKOFF_DOUBLINGS
    return Backoff(BACKOFF_SECONDS, longest, jitter=0.25).seconds(attempt, random.random())
