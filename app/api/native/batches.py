"""Batches: submit, list, status, pause, resume, cancel, retry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import request
from pydantic import ConfigDict, Field

from app.api.http.headers import request_id
from app.api.http.openapi import BatchPath, blueprint, responses
from app.api.http.request_model import RequestModel
from app.api.native.generate import GenerateHeaders
from app.api.routing import Access, Budget
from app.api.schemas.batches import (
    BatchAccepted,
    BatchBody,
    BatchesBody,
    BatchResponse,
    BatchSummary,
    DryRunBody,
    RetriedBody,
)
from app.api.security.client_identity import check_priority, client_id, identity
from app.api.server.context import app_context
from app.core.batches.batch import Batch
from app.core.batches.request import BatchInput
from app.core.json_values import Body, FiniteFloat, Integer
from app.core.webhooks import URL_MAX_CHARS
from app.errors import (
    BatchNotFound,
    Conflict,
    CyberImageError,
    DiskFull,
    Forbidden,
    Gone,
    IdempotencyConflict,
    InvalidRequest,
    LoraIncompatible,
    LoraUnavailable,
    NoCapableWorker,
    PayloadTooLarge,
    QueueFull,
    SpendLimit,
    Unavailable,
    UnknownModel,
    UnsupportedMediaType,
    UnsupportedTask,
)
from app.services.batches import life
from app.services.batches.submit import BatchOptions, add_jobs, dry_run, submit_batch
from app.services.batches.view import view

api = blueprint("batches", "batches")

MOST_PLACES = 200
_SUBMIT = (
    InvalidRequest,
    Forbidden,
    PayloadTooLarge,
    UnsupportedMediaType,
    IdempotencyConflict,
    QueueFull,
    SpendLimit,
    DiskFull,
    Unavailable,
)
_CHANGE = (BatchNotFound, Gone, Conflict)


class MoreJobsBody(BatchInput):
    dry_run: bool = Field(default=False, description="Say which jobs there would be, and make none.")
    skip_invalid: bool = Field(default=False, description="With `lines`: leave out those that cannot be made.")

    def options(self, **more: Any) -> BatchOptions:
        return BatchOptions(skip_invalid=self.skip_invalid, **more)


class NewBatchBody(MoreJobsBody):
    name: str | None = Field(default=None, min_length=1, max_length=200, description="What to call it.")
    priority: Integer = Field(default=0, ge=-10, le=10, description="Higher runs earlier; above 0 for administrators.")
    webhook_url: str | None = Field(
        default=None, max_length=URL_MAX_CHARS, description="Gets a signed POST at each percent, and at the end."
    )
    max_seconds: FiniteFloat | None = Field(
        default=None, gt=0, le=1e9, description="What has not ended so long after acceptance is cancelled."
    )
    max_spend: FiniteFloat | None = Field(
        default=None, ge=0, le=1e12, description="Of remote models: refused if the jobs cost more, retries included."
    )

    def all_options(self) -> BatchOptions:
        names = ("name", "priority", "webhook_url", "max_seconds", "max_spend")
        return self.options(**{name: getattr(self, name) for name in names})


class DryRunQuery(RequestModel):
    limit: int = Field(default=100, ge=0, le=1000, description="With `dry_run`: how many of the jobs are shown.")


class BatchQuery(RequestModel):
    model_config = ConfigDict(extra="forbid")

    offset: int = Field(default=0, ge=0, le=10**9, description="The first place to show.")
    limit: int = Field(default=100, ge=0, le=MOST_PLACES, description="How many places; 0 for counts alone.")


class BatchesQuery(RequestModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, pattern="^[0-9a-f]{32}$", description="The `next_cursor` before.")


class RetryBody(Body):
    cancelled: bool = Field(default=False, description="Also jobs that were cancelled.")


class PriorityBody(Body):
    priority: Integer = Field(ge=-10, le=10, description="Higher runs earlier; above 0 for administrators.")


def budget_of_batch() -> Budget:
    """A dry run makes no pictures."""
    try:
        return "read" if request.get_json().get("dry_run") is True else "generate"
    except CyberImageError:  # unreadable: refused later
        return "generate"


@api.post(
    "/api/batches",
    access=Access.USER,
    budget=budget_of_batch,
    accepts_lines=True,
    responses=responses({202: BatchAccepted, 200: DryRunBody}, *_SUBMIT),
    description="A request whose holes are filled in all ways: `{red|green}`, `{2$$a|b|c}` and `__wildcards__` in the"
    " prompt, `axes` over any field, `seeds`. All jobs are accepted in one transaction, or none is; all that is wrong"
    " is told at once. CSV or JSONL may be sent as it is, one request a line. See docs/BATCHES.md.",
)
def submit_a_batch(body: NewBatchBody, header: GenerateHeaders, query: DryRunQuery) -> BatchResponse | DryRunBody:
    """Submit a batch"""
    check_priority(body.priority)
    context, client, options = app_context(), client_id(), body.all_options()
    if body.dry_run:
        return DryRunBody.of(dry_run(context, body, options, client_id=client, request_id=request_id()), query.limit)
    key = header.idempotency_key
    made = submit_batch(context, body, options, client_id=client, idempotency_key=key, request_id=request_id())
    return BatchAccepted.of(made).response()


@api.get("/api/batches", access=Access.USER, budget="read", responses=responses({200: BatchesBody}, InvalidRequest))
def list_batches(query: BatchesQuery) -> BatchesBody:
    """List batches, newest first"""
    found = app_context().batches.page(identity().scope, limit=query.limit + 1, before=query.cursor)
    shown = found[: query.limit]
    following = shown[-1].id if len(found) > query.limit else None
    return BatchesBody(batches=[BatchSummary.of(batch) for batch in shown], next_cursor=following)


@api.get(
    "/api/batches/<batch_id>",
    access=Access.USER,
    budget="read",
    polled=True,
    responses=responses({200: BatchBody}, BatchNotFound, Gone, InvalidRequest),
)
def batch_status(path: BatchPath, query: BatchQuery) -> BatchBody:
    """Get the status of a batch, and its pictures by place"""
    return _body(path.batch_id, query.offset, query.limit)


@api.post(
    "/api/batches/<batch_id>/jobs",
    access=Access.USER,
    budget=budget_of_batch,
    accepts_lines=True,
    responses=responses({202: BatchAccepted, 200: DryRunBody}, *_SUBMIT, *_CHANGE),
    description="The body is that of a batch. The jobs get the places after the last one.",
)
def add_to_batch(
    path: BatchPath, body: MoreJobsBody, header: GenerateHeaders, query: DryRunQuery
) -> BatchResponse | DryRunBody:
    """Add jobs to a batch"""
    context, client, options = app_context(), client_id(), body.options()
    batch = _at_own_priority(context.batches.get(path.batch_id))
    if body.dry_run:
        return DryRunBody.of(dry_run(context, body, options, client_id=client, request_id=request_id()), query.limit)
    key = header.idempotency_key
    made = add_jobs(context, batch, body, options, client_id=client, idempotency_key=key, request_id=request_id())
    return BatchAccepted.of(made).response()


@api.post(
    "/api/batches/<batch_id>/pause",
    access=Access.USER,
    budget="read",
    responses=responses({200: BatchBody}, *_CHANGE, QueueFull),
)
def pause_batch(path: BatchPath) -> BatchBody:
    """Pause a batch: running jobs go on, the others wait"""
    life.pause(app_context(), path.batch_id)
    return _body(path.batch_id)


@api.post(
    "/api/batches/<batch_id>/resume",
    access=Access.USER,
    budget="read",
    responses=responses({200: BatchBody}, *_CHANGE, QueueFull),
)
def resume_batch(path: BatchPath) -> BatchBody:
    """Resume a paused batch"""
    life.resume(app_context(), path.batch_id)
    return _body(path.batch_id)


@api.post(
    "/api/batches/<batch_id>/priority",
    access=Access.USER,
    budget="read",
    responses=responses({200: BatchBody}, *_CHANGE, InvalidRequest, Forbidden),
)
def set_batch_priority(path: BatchPath, body: PriorityBody) -> BatchBody:
    """Change the priority of what waits"""
    check_priority(body.priority)
    life.prioritise(app_context(), path.batch_id, body.priority)
    return _body(path.batch_id)


@api.post(
    "/api/batches/<batch_id>/cancel",
    access=Access.USER,
    budget="read",
    responses=responses({200: BatchBody}, *_CHANGE),
    description="Waiting jobs are CANCELLED at once; running ones stop at their next step. Finished pictures stay.",
)
def cancel_batch(path: BatchPath) -> BatchBody:
    """Cancel a batch"""
    life.cancel(app_context(), path.batch_id)
    return _body(path.batch_id)


@api.post(
    "/api/batches/<batch_id>/retry-failed",
    access=Access.USER,
    budget="generate",
    responses=responses(
        {200: RetriedBody},
        *_CHANGE,
        InvalidRequest,
        UnknownModel,
        UnsupportedTask,
        LoraUnavailable,
        NoCapableWorker,
        LoraIncompatible,
        SpendLimit,
        QueueFull,
    ),
    description="Puts FAILED jobs back in line under their own ids, with fresh attempts; with `cancelled` those that"
    " were cancelled, too.",
)
def retry_failed_jobs(path: BatchPath, body: RetryBody) -> RetriedBody:
    """Retry the failed jobs of a batch"""
    number = life.retry_failed(app_context(), path.batch_id, cancelled=body.cancelled)
    return RetriedBody(retried=number, batch=_body(path.batch_id))


def _at_own_priority(batch: Batch) -> Batch:
    """An administrator may have raised the priority since: the jobs that others add get what they may ask for."""
    return batch if identity().is_admin else replace(batch, priority=min(batch.priority, 0))


def _body(batch_id: str, offset: int = 0, limit: int = 0) -> BatchBody:
    return BatchBody.of_places(view(app_context(), batch_id, offset=offset, limit=limit), offset=offset, limit=limit)
