"""The queue and the workers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from app.api.schemas.jobs import JobBody
from app.api.schemas.kinds import Time
from app.core.catalog import Lane
from app.core.job import JobStatus


class WorkerBody(BaseModel):
    id: str
    host: str
    pid: int
    device: str
    state: Literal["idle", "busy", "loading", "draining", "unhealthy"] = Field(
        description="unhealthy: its device failed and is out of service until it passes a test."
    )
    job_id: str | None
    models: list[dict[str, Any]]
    rss_bytes: int
    vram_bytes: int
    started_at: Time
    heartbeat_at: Time
    lane: Lane
    slots: int = Field(description="Jobs that it runs at a time.")
    running: int = Field(description="Jobs that it runs now; `job_id` is the oldest of them.")
    device_id: str = Field(description="The device on its host, such as `cuda:0`; empty in the remote lane.")
    device_error: str | None = Field(description="Why its device is out of service; null while it is not.")


class ModelSpeed(BaseModel):
    load_seconds: float | None
    seconds: dict[str, float] = Field(description="Per picture, by `<width>x<height>x<steps>`; 0 = the model's own.")


class QueueBody(BaseModel):
    counts: dict[JobStatus, int]
    running: list[JobBody]
    waiting: list[JobBody] = Field(description="The heads of both lines, first served first.")
    models: dict[str, ModelSpeed] = Field(description="Average times, learned from finished jobs.")
    workers: list[WorkerBody]
