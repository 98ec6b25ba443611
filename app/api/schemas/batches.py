"""Batches, their places and what was accepted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from pydantic import Field

from app.core.batches.axes import Axis
from app.core.batches.batch import Batch, BatchStatus, Place, coordinates
from app.core.job import JobStatus
from app.core.response_body import Path, ResponseBody, Time
from app.core.times import iso, iso_or_none
from app.errors import FieldError
from app.services.batches.submit import BatchSubmission, DryRun
from app.services.batches.view import BatchView
from app.services.job_body import ErrorBody, ImageRef
from app.services.urls import url

MOST_VALUES = 200  # of an axis that are shown


class AxisBody(ResponseBody):
    field: str = Field(description="What changes, by its path in a request.")
    count: int
    values: list[str] = Field(description=f"What the values are called; the first {MOST_VALUES} of them.")

    @classmethod
    def of(cls, axis: Axis) -> Self:
        return cls.read(axis, count=len(axis.values), values=list(axis.values[:MOST_VALUES]))


class SkippedBody(ResponseBody):
    field: str = Field(description="The line, and the field in it.")
    message: str


class BatchAccepted(ResponseBody):
    batch_id: str
    jobs: int = Field(description="How many jobs this request has made.")
    total: int = Field(description="How many jobs the batch has now.")
    axes: list[AxisBody]
    status_url: Path
    warnings: list[str] = Field(description="Of all jobs, each once.")
    skipped: list[SkippedBody] = Field(description="With `skip_invalid`: the lines that were left out, and why.")

    @classmethod
    def of(cls, made: BatchSubmission) -> Self:
        return cls.read(
            made,
            axes=[AxisBody.of(axis) for axis in made.axes],
            status_url=url(f"/api/batches/{made.batch_id}"),
            warnings=list(made.warnings),
            skipped=skipped_bodies(made.skipped),
        )

    def response(self) -> BatchResponse:
        """The 202 of a route that enqueues."""
        return self, 202, {"Location": self.status_url}


class PlannedBody(ResponseBody):
    place: int
    model_id: str
    prompt: str
    negative_prompt: str | None
    settings: dict[str, Any]


class DryRunBody(ResponseBody):
    jobs: int = Field(description="How many jobs there would be.")
    images: int = Field(description="How many pictures or videos they would make.")
    seconds: float | None = Field(
        description="How long they would take once it is their turn; null while nothing alike has finished, or without"
        " a worker."
    )
    price: float = Field(description="Of those of remote models, by the configured prices.")
    axes: list[AxisBody]
    warnings: list[str]
    skipped: list[SkippedBody]
    planned: list[PlannedBody] = Field(description="The first jobs, up to `limit`.")

    @classmethod
    def of(cls, found: DryRun, limit: int) -> Self:
        prepared = found.prepared
        return cls.read(
            found,
            prepared,
            images=sum(job.request.num_images for job in prepared.jobs),
            jobs=len(prepared.jobs),
            axes=[AxisBody.of(axis) for axis in prepared.axes],
            warnings=list(prepared.warnings),
            skipped=skipped_bodies(prepared.problems.errors()),
            planned=[
                PlannedBody.read(job.request, job, settings=job.request.settings()) for job in prepared.jobs[:limit]
            ],
        )


class BatchSummary(ResponseBody):
    batch_id: str
    name: str | None
    status: BatchStatus
    stopped: str | None = Field(description="Why jobs were cancelled: `cancelled`, `deadline`; else null.")
    jobs: int
    counts: dict[JobStatus, int]
    percent: int = Field(ge=0, le=100, description="100 only when every job has ended.")
    priority: int
    created_at: Time
    paused_at: Time | None
    ended_at: Time | None
    max_seconds: float | None
    max_spend: float | None
    spent: float = Field(description="Of what its remote models cost, by the configured prices.")
    warnings: list[str]
    url: Path
    events_url: Path

    @classmethod
    def of(cls, batch: Batch, **more: Any) -> Self:
        """`more` are the fields of a subclass."""
        return cls.read(
            batch,
            batch_id=batch.id,
            counts=dict(batch.counts),
            created_at=iso(batch.created_at),
            paused_at=iso_or_none(batch.paused_at),
            ended_at=iso_or_none(batch.ended_at),
            warnings=list(batch.warnings),
            url=url(f"/api/batches/{batch.id}"),
            events_url=url(f"/api/batches/{batch.id}/events"),
            **more,
        )


class BatchesBody(ResponseBody):
    batches: list[BatchSummary]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last one.")


class PlaceBody(ResponseBody):
    place: int
    at: list[int] | None = Field(description="The number of the value on each axis; null for a job added later.")
    job_id: str
    status: JobStatus
    model_id: str
    prompt: str
    seed: int
    images: list[ImageRef]
    error: ErrorBody | None

    @classmethod
    def of(cls, place: Place, axes: Sequence[Axis]) -> Self:
        error = None
        if place.error_code is not None:
            error = ErrorBody.read(code=place.error_code, message=place.error_message or "")
        images = [ImageRef.of(output) for output in place.images]
        return cls.read(place, place.request, at=coordinates(place.place, axes), images=images, error=error)


class BatchProgress(BatchSummary):
    eta_seconds: float | None = Field(description="Until the last job ends; null while unknown, and when paused.")

    @classmethod
    def of_view(cls, view: BatchView, **more: Any) -> Self:
        """`more` are the fields of a subclass."""
        return cls.of(view.batch, eta_seconds=view.eta_seconds, **more)


class BatchBody(BatchProgress):
    axes: list[AxisBody]
    request: dict[str, Any] = Field(description="What was sent, without pictures and lines.")
    places: list[PlaceBody] = Field(description="From `offset` on, `limit` at most.")
    next_offset: int | None = Field(description="Send it as `offset` for the next places; null after the last one.")
    grid_url: Path
    zip_url: Path
    table_url: Path

    @classmethod
    def of_places(cls, view: BatchView, *, offset: int, limit: int) -> Self:
        batch, address = view.batch, url(f"/api/batches/{view.batch.id}")
        return cls.of_view(
            view,
            axes=[AxisBody.of(axis) for axis in batch.axes],
            request=dict(batch.request),
            places=[PlaceBody.of(place, batch.axes) for place in view.places],
            next_offset=offset + limit if limit and offset + limit < batch.jobs else None,
            grid_url=f"{address}/grid",
            zip_url=f"{address}/zip",
            table_url=f"{address}/table",
        )


class RetriedBody(ResponseBody):
    retried: int = Field(description="How many jobs were put back in the queue.")
    batch: BatchBody


def skipped_bodies(errors: Sequence[FieldError]) -> list[SkippedBody]:
    return [SkippedBody.read(error) for error in errors]


BatchResponse = tuple[BatchAccepted, int, dict[str, str]]
