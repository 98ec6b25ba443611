"""Job status, cancel and retry."""

from __future__ import annotations

from flask import Response

from app.api.http.openapi import JobPath, SignedQuery, blueprint, responses
from app.api.routing import Access
from app.api.schemas.jobs import JobBody
from app.api.server.context import api_context, app_context
from app.errors import (
    Conflict,
    Forbidden,
    Gone,
    InvalidRequest,
    JobNotFound,
    LoraIncompatible,
    LoraUnavailable,
    NoCapableWorker,
    QueueFull,
    SpendLimit,
    UnknownModel,
    UnsupportedTask,
)
from app.services.jobs import cancel
from app.services.jobs.status import view

api = blueprint("jobs", "jobs")

# The ids are `path` parameters so that one with slashes in it is an unknown job, not an unknown page.


@api.get(
    "/api/status/<job_id>",
    access=Access.USER,
    budget="read",
    polled=True,
    responses=responses({200: JobBody}, JobNotFound, Gone, Forbidden),
)
def job_status(path: JobPath, query: SignedQuery) -> Response | JobBody:
    """Get the status of a job"""
    if query.signed:
        return JobBody.of(view(app_context(), path.job_id), sign=app_context().signed_urls.signing())
    return Response(api_context().status_cache.answer(path.job_id), mimetype="application/json")


@api.post(
    "/api/jobs/<job_id>/cancel",
    access=Access.USER,
    budget="read",
    responses=responses({200: JobBody}, JobNotFound, Gone, Conflict),
    description="A waiting job is CANCELLED at once; a running one stops at its next step.",
)
def cancel_job(path: JobPath) -> JobBody:
    """Cancel a job"""
    return JobBody.of(cancel.cancel(app_context(), path.job_id))


@api.post(
    "/api/jobs/<job_id>/retry",
    access=Access.USER,
    budget="generate",
    responses=responses(
        {200: JobBody},
        JobNotFound,
        Gone,
        Conflict,
        UnknownModel,
        UnsupportedTask,
        LoraUnavailable,
        NoCapableWorker,
        LoraIncompatible,
        SpendLimit,
        InvalidRequest,
        QueueFull,
    ),
    description="Puts a FAILED or CANCELLED job back in line under its own id, with fresh attempts. It is refused when"
    " its model or a LoRA of it is not here any more. A provider's finished result is fetched again, unpaid.",
)
def retry_job(path: JobPath) -> JobBody:
    """Retry a job"""
    return JobBody.of(cancel.retry(app_context(), path.job_id))
