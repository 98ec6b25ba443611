"""A batch: many jobs that were accepted together and are counted, stopped and shown as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.core.batches.axes import Axis
from app.core.catalog import Lane
from app.core.inputs import InputPicture
from app.core.job import JobStatus
from app.core.request import GenerationRequest
from app.core.spending import Charge


class BatchStatus(StrEnum):
    """RUNNING while jobs wait or run; PAUSED keeps waiting jobs from being claimed; ENDED: every job has ended."""

    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    ENDED = "ENDED"


@dataclass(frozen=True)
class NewJob:
    """A job of a batch that is to be accepted."""

    place: int
    request: GenerationRequest
    lane: Lane = "local"
    warnings: Sequence[str] = ()
    pictures: Sequence[InputPicture] = ()
    charge: Charge | None = None


@dataclass(frozen=True)
class NewBatch:
    """What is known of a batch when it is accepted. `request` is what the client sent, without pictures. `price` is
    that of all its jobs."""

    axes: Sequence[Axis]
    request: Mapping[str, Any]
    name: str | None = None
    priority: int = 0
    webhook_url: str | None = None
    max_seconds: float | None = None
    max_spend: float | None = None
    warnings: Sequence[str] = ()
    request_id: str | None = None


@dataclass(frozen=True)
class Batch:
    """A batch as it stands. Times are seconds since the epoch, UTC. `percent` and `progressed_at` are what was last
    told by event and webhook, and when the number of ended jobs last grew."""

    id: str
    owner: str
    created_at: float
    jobs: int
    counts: Mapping[JobStatus, int]
    axes: Sequence[Axis]
    request: Mapping[str, Any]
    name: str | None = None
    priority: int = 0
    ended_at: float | None = None
    paused_at: float | None = None
    stopped: str | None = None  # why jobs were cancelled: `cancelled` or `deadline`
    max_seconds: float | None = None
    max_spend: float | None = None
    spent: float = 0.0
    webhook_url: str | None = None
    warnings: Sequence[str] = ()
    request_id: str | None = None
    percent_told: int = 0
    ended_told: int = 0
    progressed_at: float = 0.0

    @property
    def ended(self) -> int:
        """How many of its jobs have ended, or were removed since."""
        return self.jobs - self.open

    @property
    def open(self) -> int:
        return self.counts[JobStatus.PENDING] + self.counts[JobStatus.PROCESSING]

    @property
    def status(self) -> BatchStatus:
        if not self.open:
            return BatchStatus.ENDED
        return BatchStatus.RUNNING if self.paused_at is None else BatchStatus.PAUSED

    @property
    def revision(self) -> str:
        """Differs between any two states that clients are told."""
        counts = [f"{self.counts[status]}" for status in JobStatus]
        return "-".join([self.status.value, *counts, f"{self.jobs}", f"{self.priority}", self.stopped or "on"])

    @property
    def percent(self) -> int:
        """100 only when every job has ended."""
        return 100 * self.ended // self.jobs if self.jobs else 100


@dataclass(frozen=True)
class Place:
    """One place on the axes, and the job that is there."""

    place: int
    job_id: str
    status: JobStatus
    request: GenerationRequest
    error_code: str | None = None
    error_message: str | None = None
    images: Sequence[Any] = field(default=())


def coordinates(place: int, axes: Sequence[Axis]) -> list[int] | None:
    """The number of the value on each axis; None for a job that was added later."""
    found = []
    for axis in reversed(axes):
        place, own = divmod(place, len(axis.values))
        found.append(own)
    return None if place else found[::-1]
