"""Jobs: their states, phases, progress, and the claim of a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.core.catalog import Lane
from app.core.output import Output
from app.core.prediction import Prediction
from app.core.request import GenerationRequest
from app.core.safety import SafetyResult
from app.errors import ContentBlocked

STOP_GRACE_SECONDS = 10.0  # for a job past its timeout to stop; after that its worker counts as stuck


class JobStatus(StrEnum):
    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def terminal(self) -> bool:
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class Phase(StrEnum):
    """What a PROCESSING job is doing, in order."""

    STARTING = "starting"
    DOWNLOADING = "downloading_model"
    LOADING = "loading_model"
    ENCODING = "encoding_prompt"
    GENERATING = "generating"
    DECODING = "decoding"
    SAVING = "saving"
    DONE = "done"


@dataclass(frozen=True)
class Progress:
    """`step` of `total_steps` denoising steps are done, in about `seconds_per_step` each (None while unknown).

    During a download of the model `downloaded_bytes` of `total_bytes` are done; None without one, or while the sizes
    are unknown. `percent` is 0-100 over the whole job.
    """

    phase: Phase
    step: int = 0
    total_steps: int = 0
    seconds_per_step: float | None = None
    downloaded_bytes: int | None = None
    total_bytes: int | None = None

    @property
    def percent(self) -> int:
        if self.phase is Phase.DONE:
            return 100
        if self.phase in (Phase.DECODING, Phase.SAVING) and self.step >= self.total_steps:  # of the last image
            return 99
        return int(98 * self.step / self.total_steps) if self.total_steps else 0


@dataclass(frozen=True)
class Claim:
    """The right to work on a job: every write made under it is fenced on `worker_id` and `attempt`.

    `deadline_in` is how many seconds after the claim the lease finally ends: `load_seconds` until the model is loaded,
    the job's timeout from then on, and STOP_GRACE_SECONDS.
    """

    job_id: str
    worker_id: str
    attempt: int
    max_attempts: int
    request: GenerationRequest
    deadline_in: float
    queued_seconds: float
    request_id: str | None = None
    traceparent: str | None = None
    load_seconds: float = 0.0


@dataclass(frozen=True)
class Job:
    """One job of the queue. Times are seconds since the epoch, UTC.

    `available_at` is set while the job waits after a failure; None = available.
    """

    id: str
    seq: int
    client_id: str
    status: JobStatus
    priority: int
    turn: int
    request: GenerationRequest
    created_at: float
    attempt: int
    max_attempts: int
    revision: int
    progress: Progress
    available_at: float | None = None
    started_at: float | None = None
    heartbeat_at: float | None = None
    completed_at: float | None = None
    worker_id: str | None = None
    cancel_requested: bool = False
    error_code: str | None = None
    error_message: str | None = None
    warnings: tuple[str, ...] = ()
    timings: dict[str, Any] = field(default_factory=dict)
    webhook_url: str | None = None  # notified when the job ends; never shown, it may contain a secret
    request_id: str | None = None  # of the request that submitted it
    traceparent: str | None = None  # of that request's trace
    vram_peak_bytes: int | None = None  # measured, when COMPLETED
    safety: SafetyResult | None = None  # of its pictures, when COMPLETED
    lane: Lane = "local"
    paused: bool = False  # with its batch: it is not claimed
    batch_id: str | None = None
    batch_place: int | None = None  # its number on the axes of the batch

    @property
    def safety_filter_result(self) -> SafetyResult | None:
        """None before the pictures are finished."""
        return SafetyResult.BLOCKED if self.error_code == ContentBlocked.code else self.safety


@dataclass(frozen=True)
class JobView:
    """A job with what is known about it elsewhere. `position` is 1 for the next job, None unless waiting. `eta_seconds`
    is until it is done, None when unknown. `waits_for`: what no live worker has that a waiting job needs."""

    job: Job
    position: int | None = None
    eta_seconds: float | None = None
    outputs: Sequence[Output] = ()
    prediction: Prediction | None = None
    waits_for: str | None = None

    @property
    def sent(self) -> Mapping[str, Any] | None:
        """The input that a provider's model was or is about to be sent; None without one."""
        return None if self.prediction is None else self.prediction.input
