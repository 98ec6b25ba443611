"""Response bodies of the health and status endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field

from app.api.schemas.queue import WorkerBody
from app.core.catalog import Lane
from app.core.job import JobStatus
from app.core.response_body import Path, ResponseBody, Time
from app.core.times import iso
from app.monitoring.requests import Recent
from app.monitoring.resources import Reading
from app.services.ops.stats import Readiness, Summary


class HealthBody(ResponseBody):
    status: Literal["ok"]


class ChecksBody(ResponseBody):
    status: Literal["ok"]
    ready: bool = Field(description="Whether a job that is sent now will be worked on.")
    checks: dict[str, str] = Field(
        description='"ok", or what is wrong. Some devices out of service do not prevent `ready`.'
    )

    @classmethod
    def of(cls, readiness: Readiness) -> Self:
        return cls.read(status="ok", ready=readiness.ready, checks=dict(readiness.checks))


class DiskBody(ResponseBody):
    free_bytes: int | None = Field(description="null where the media store has no bound.")
    floor_bytes: int = Field(description="Below this, new jobs are refused.")
    percent: float | None = Field(description="In use; null if it cannot be read.")

    @classmethod
    def of(cls, summary: Summary, floor_bytes: int) -> Self:
        percent = None if summary.disk_percent is None else round(summary.disk_percent, 1)
        return cls.read(free_bytes=summary.free_bytes, floor_bytes=floor_bytes, percent=percent)


class ImagesTotal(ResponseBody):
    count: int
    bytes: int


class CpuBody(ResponseBody):
    percent: float = Field(description="Of all cores together.")
    count: int

    @classmethod
    def of(cls, reading: Reading) -> Self:
        return cls.read(percent=round(reading.cpu_percent, 1), count=reading.cpu_count)


class MemoryBody(ResponseBody):
    total_bytes: int
    available_bytes: int
    percent: float = Field(description="In use.")
    api_rss_bytes: int = Field(description="Of this API process.")

    @classmethod
    def of(cls, reading: Reading) -> Self:
        return cls.read(
            reading,
            total_bytes=reading.memory_bytes,
            percent=round(reading.memory_percent, 1),
            api_rss_bytes=reading.rss_bytes,
        )


class GpuBody(ResponseBody):
    index: int
    name: str
    memory_bytes: int
    used_bytes: int
    utilization_percent: int | None
    temperature_celsius: int | None
    uuid: str = Field(description="As CUDA_VISIBLE_DEVICES takes it; empty where the driver does not report it.")


class ResponseTimes(ResponseBody):
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, recent: Recent) -> Self:
        return cls.read(p50=round(recent.p50, 4), p95=round(recent.p95, 4), p99=round(recent.p99, 4))


class RequestsBody(ResponseBody):
    count: int = Field(description="The figures are of this many requests: the last, at most a thousand.")
    error_rate: float = Field(description="Share of them that ended in a 5xx.")
    seconds: ResponseTimes

    @classmethod
    def of(cls, recent: Recent) -> Self:
        return cls.read(recent, error_rate=round(recent.error_rate, 4), seconds=ResponseTimes.of(recent))


class LaneBody(ResponseBody):
    workers: int = Field(description="Live ones.")
    slots: int = Field(description="Jobs that they run at a time.")
    waiting: int
    running: int


class StatusBody(ResponseBody):
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

    @classmethod
    def of(
        cls,
        summary: Summary,
        reading: Reading,
        recent: Recent,
        checks: ChecksBody,
        *,
        started_at: float,
        now: float,
        versions: Mapping[str, str],
        disk_floor_bytes: int,
    ) -> Self:
        return cls.read(
            checks,
            started_at=iso(started_at),
            uptime_seconds=round(now - started_at, 1),
            versions=dict(versions),
            queue=dict(summary.counts),
            workers=[WorkerBody.of(row) for row in summary.workers],
            lanes={lane: LaneBody.read(state) for lane, state in summary.lanes.items()},
            cpu=CpuBody.of(reading),
            memory=MemoryBody.of(reading),
            gpus=[GpuBody.read(gpu) for gpu in reading.gpus],
            disk=DiskBody.of(summary, disk_floor_bytes),
            images=ImagesTotal.read(**summary.images),
            requests=RequestsBody.of(recent),
        )


class CleanupBody(ResponseBody):
    """What was removed, or would have been."""

    dry_run: bool
    images: int
    jobs: int
    orphans: int = Field(description="Files that belonged to nothing.")
    idempotency_keys: int
    freed_bytes: int = Field(description="Of pictures, thumbnails and orphans.")


class RootBody(ResponseBody):
    name: str
    version: str
    links: dict[str, Path]
