"""Progress, interrupt and skip: of what the same client submitted by this interface."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator

from pydantic import Field

from app.api.a1111.bodies import TaskBody
from app.api.a1111.clients import clients
from app.api.a1111.errors import answers
from app.api.http.openapi import blueprint
from app.api.http.request_model import RequestModel
from app.api.routing import Access
from app.api.schemas.a1111 import Nothing, TaskProgress, WebuiProgress
from app.api.security.client_identity import client_id
from app.api.server.context import app_context
from app.api.server.followed import may_have_preview
from app.core.job import Job, JobStatus, JobView
from app.errors import Conflict, Gone, NotFound
from app.services.context import AppContext
from app.services.jobs.cancel import cancel
from app.services.jobs.status import view, view_of
from app.services.media.reencode import reencoded

api = blueprint("a1111_progress", "AUTOMATIC1111", "a1111")


class ProgressQuery(RequestModel):
    skip_current_image: bool = Field(default=False, description="true: without a preview.")


@api.get("/sdapi/v1/progress", access=Access.USER, budget="read", polled=True, responses=answers(WebuiProgress))
def a1111_progress(query: ProgressQuery) -> WebuiProgress:
    """Get the progress of the client's own job, as AUTOMATIC1111"""
    context = app_context()
    jobs = active_jobs(context)
    if not jobs:
        return WebuiProgress.of(None, 0)
    state = view_of(context, jobs[0])
    preview = None if query.skip_current_image else _preview(context, state)
    return WebuiProgress.of(state, len(jobs), None if preview is None else preview[1])


@api.post(
    "/internal/progress",
    access=Access.USER,
    budget="read",
    polled=True,
    responses=answers(TaskProgress),
    description="Of the request that had this `force_task_id`.",
)
def a1111_task_progress(body: TaskBody) -> TaskProgress:
    """Get the progress of a task, as AUTOMATIC1111's page"""
    context = app_context()
    job_id = clients().job_of_task(client_id(), body.id_task)
    try:
        state = None if job_id is None else view(context, job_id)
    except (NotFound, Gone):
        state = None
    preview = _preview(context, state) if state is not None and body.live_preview else None
    if preview is None or preview[0] == body.id_live_preview:
        return TaskProgress.of(state, id_live_preview=body.id_live_preview)
    return TaskProgress.of(state, f"data:image/png;base64,{preview[1]}", preview[0])


@api.post(
    "/sdapi/v1/interrupt",
    access=Access.USER,
    budget="read",
    raw_body=True,
    responses=answers(Nothing),
    description="Cancels the client's own jobs, waiting ones too; nobody else's, and none of other interfaces.",
)
def a1111_interrupt() -> Nothing:
    """Cancel the client's jobs, as AUTOMATIC1111"""
    _cancel(active_jobs(app_context()))
    return Nothing()


@api.post(
    "/sdapi/v1/skip",
    access=Access.USER,
    budget="read",
    raw_body=True,
    responses=answers(Nothing),
    description="Cancels the client's own running job; those that wait go on.",
)
def a1111_skip() -> Nothing:
    """Cancel the client's running job, as AUTOMATIC1111"""
    _cancel([job for job in active_jobs(app_context()) if job.status is JobStatus.PROCESSING][:1])
    return Nothing()


def active_jobs(context: AppContext) -> list[Job]:
    """The current client's, running ones first."""
    return sorted(_active(context), key=lambda job: job.status is not JobStatus.PROCESSING)


def _active(context: AppContext) -> Iterator[Job]:
    client = clients().of(client_id())
    for job_id in client.jobs:
        try:
            job = context.jobs.get(job_id)
        except (NotFound, Gone):
            client.remove_job(job_id)
            continue
        if job.status.terminal:
            client.remove_job(job_id)
        else:
            yield job


def _cancel(jobs: list[Job]) -> None:
    for job in jobs:
        with contextlib.suppress(Conflict, NotFound, Gone):  # it has ended meanwhile
            cancel(app_context(), job.id)


def _preview(context: AppContext, state: JobView) -> tuple[int, str] | None:
    """A number that grows with each preview of the job, and the newest as PNG in base64."""
    found = context.previews.get(state.job.id) if may_have_preview(state) else None
    if found is None:
        return None
    return 1000 * found.attempt + found.step, base64.b64encode(reencoded(found.webp, "png", 100)).decode()
