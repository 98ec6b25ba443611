"""Jobs and their pictures."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from app.api.schemas.kinds import Path, Sha256, Time
from app.core.catalog import Lane, Media
from app.core.job import JobStatus, Phase
from app.core.safety import SafetyResult
from app.core.tasks import Task


class Accepted(BaseModel):
    job_id: str
    status: JobStatus
    position: int | None = Field(description="1 = served next; null when the job no longer waits.")
    status_url: Path
    events_url: Path
    warnings: list[str] = Field(description="What was read otherwise than it was written.")


class ProgressBody(BaseModel):
    phase: Phase
    step: int
    total_steps: int
    percent: int = Field(ge=0, le=100)
    seconds_per_step: float | None = Field(description="Measured in this attempt; null before the first step.")
    downloaded_bytes: int | None = Field(description="In phase `downloading_model`: how much of the model is here.")
    total_bytes: int | None = Field(description="How much there will be; null when nothing is downloaded.")


class ErrorBody(BaseModel):
    code: str
    message: str


class ImageRef(BaseModel):
    image_id: str
    url: Path
    thumbnail_url: Path
    metadata_url: Path
    media: Media
    mime_type: str
    width: int
    height: int
    bytes: int
    sha256: Sha256
    seed: int
    safety_filter_result: SafetyResult


class RemoteBody(BaseModel):
    source: str
    model: str = Field(description="What the provider calls it.")
    input: dict[str, Any] | None = Field(description="In the model's own words; null until it is sent.")
    prediction_id: str | None = Field(description="What the provider calls the generation.")
    status: str | None = Field(description="intended, or the provider's own word for it.")
    predict_seconds: float | None = Field(description="What is paid for.")
    download_attempted: bool
    download_retries: int
    download_error: str | None = Field(description="Why the files are not here.")


class JobBody(BaseModel):
    job_id: str
    status: JobStatus
    model_id: str
    prompt: str
    negative_prompt: str | None
    task: Task
    settings: dict[str, Any] = Field(description="As used: defaults filled in, the seed drawn.")
    inputs: dict[str, Any] = Field(
        description="`image` and `mask`, where there are: `sha256` of the file as it was sent, `width` and `height` as"
        " used, `image_id` when it came from the gallery."
    )
    priority: int
    remote: RemoteBody | None = Field(description="What was asked of a provider; null for a model here.")
    lane: Lane = Field(description="local: a model in memory here; remote: a provider's. Each has its own line.")
    created_at: Time
    started_at: Time | None
    completed_at: Time | None
    attempt: int = Field(description="0 before the first.")
    cancel_requested: bool
    position: int | None = Field(description="1 = served next; null unless PENDING.")
    eta_seconds: float | None = Field(description="Until it is done; null when nothing like it was seen yet.")
    progress: ProgressBody
    images: list[ImageRef]
    safety_filter_result: SafetyResult | None = Field(
        description="The most severe result of its pictures; null before the end."
    )
    error: ErrorBody | None
    warnings: list[str]
    timings: dict[str, Any] = Field(description="Seconds by phase, when COMPLETED.")
