"""Queue"""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.config.kinds import LIVE, Seconds


class Queue(BaseModel):
    queue_max_pending: int = Field(
        10_000, ge=1, description="Most waiting jobs; more are refused (queue_full).", json_schema_extra=LIVE
    )
    lease_seconds: Seconds = Field(30, description="How long a worker owns a job without a heartbeat.")
    heartbeat_seconds: Seconds = Field(5, description="Interval of a worker's heartbeats.")
    job_timeout_seconds: Seconds = Field(
        1800,
        description="Time limit of one attempt of a job, from when its model is loaded; pictures that are finished then"
        " are kept.",
    )
    load_timeout_seconds: Seconds = Field(
        3600, description="Time limit of loading a model for a job or on request, its download included."
    )
    absent_workers_seconds: Seconds = Field(
        600,
        le=30 * 86_400,
        description="For how long a request is accepted that only a worker could run which has gone, while others live."
        " Longer where kinds of workers are scaled to none.",
        json_schema_extra=LIVE,
    )
    max_attempts: int = Field(3, ge=1, le=100, description="Attempts of a job before it is FAILED.")
    worker_poll_seconds: Seconds = Field(1.0, description="How often an idle worker polls for jobs.")
