"""How the whole place stands."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from app.api.schemas.kinds import Path, Time
from app.api.schemas.queue import WorkerBody
from app.core.catalog import Lane
from app.core.job import JobStatus


class HealthBody(BaseModel):
    status: Literal["ok"]


class ChecksBody(BaseModel):
    status: Literal["ok"]
    ready: bool = Field(description="Whether a job that is sent now will be worked on.")
    checks: dict[str, str] = Field(
        description='"ok", or what is wrong. Some devices out of service do not prevent `ready`.'
    )


class DiskBody(BaseModel):
    free_bytes: int
    floor_bytes: int = Field(description="Below this, new jobs are refused.")


class ImagesTotal(BaseModel):
    count: int
    bytes: int


class CpuBody(BaseModel):
    percent: float = Field(description="Of all cores together.")
    count: int


class MemoryBody(BaseModel):
    total_bytes: int
    available_bytes: int
    percent: float = Field(description="In use.")
    api_rss_bytes: int = Field(description="Of this API process.")


class GpuBody(BaseModel):
    index: int
    name: str
    memory_bytes: int
    used_bytes: int
    utilization_percent: int | None
    temperature_celsius: int | None


class ResponseTimes(BaseModel):
    p50: float
    p95: float
    p99: float


class RequestsBody(BaseModel):
    count: int = Field(description="The figures are of this many requests: the last, at most a thousand.")
    error_rate: float = Field(description="Share of them that ended in a 5xx.")
    seconds: ResponseTimes


class LaneBody(BaseModel):
    workers: int = Field(description="Live ones.")
    slots: int = Field(description="Jobs that they run at a time.")
    waiting: int
    running: int


class StatusBody(BaseModel):
    started_at: Time
    uptime_seconds: float
    versions: dict[str, str]
    ready: bool
    checks: dict[str, str]
    queue: dict[JobStatus, int]
    workers: list[WorkerBody]
    lanes: dict[Lane, LaneBody] = Field(description="local: models in memory here; remote: those of providers.")
    cpu: CpuBody
    memory: MemoryBody
    gpus: list[GpuBody]
    disk: DiskBody
    images: ImagesTotal
    requests: RequestsBody


class CleanupBody(BaseModel):
    """What was removed, or would have been."""

    dry_run: bool
    images: int
    jobs: int
    orphans: int = Field(description="Files that belonged to nothing.")
    idempotency_keys: int
    freed_bytes: int = Field(description="Of pictures, thumbnails and orphans.")


class RootBody(BaseModel):
    name: str
    version: str
    links: dict[str, Path]
