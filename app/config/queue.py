"""Queue"""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.config.kinds import LIVE, Seconds


class Queue(BaseModel):
    queue_max_pending: int = Field(
        10_000, ge=1, description="Waiting jobs past which new ones get queue_full.", json_schema_extra=LIVE
    )
    lease_seconds: Seconds = Field(30, description="How long a worker owns a job without a sign of life.")
    heartbeat_seconds: Seconds = Field(5, description="How often a worker gives a sign of life.")
    job_timeout_seconds: Seconds = Field(1800, description="Longest a single attempt of a job may take.")
    max_attempts: int = Field(3, ge=1, le=100, description="Attempts of a job before it is FAILED.")
    worker_poll_seconds: Seconds = Field(1.0, description="How often an idle worker looks for work unasked.")
