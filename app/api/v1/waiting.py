"""Wait for a job and answer with what became of it: the picture itself, its error, or 202 when it takes longer."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Response, after_this_request

from app.api.schemas.v1 import Pictures, StillWorking
from app.api.server.client_disconnect import disconnect_probe
from app.api.server.context import ApiContext
from app.core.job import JobStatus, JobView
from app.core.output import Output
from app.errors import JobCancelled, error_of
from app.services.context import AppContext
from app.services.jobs import status
from app.services.jobs.submit import Submission
from app.services.media import gallery

LOOK_AGAIN_SECONDS = 2  # Retry-After of a 202

Answer = tuple[Pictures | StillWorking, int, dict[str, str]]


def wait(here: ApiContext, job_id: str, timeout: float | None) -> JobView:
    """The job when it has ended, or as it stands after `timeout` seconds.

    At once when as many requests wait as may, and soon when the client has gone.
    """
    with patience(here, timeout) as seconds:
        if not seconds:
            return status.view(here.context, job_id)
        return here.notifier.wait_until_done(job_id, seconds, give_up=has_given_up(here))


def has_given_up(here: ApiContext) -> Callable[[], bool]:
    """Whether there is no use in waiting on: the server is to stop, or the client of the current request has gone."""
    gone = disconnect_probe()
    return lambda: here.draining.is_set() or gone()


@contextmanager
def patience(here: ApiContext, timeout: float | None) -> Iterator[float]:
    """How many seconds this request may wait: `timeout` (None = SYNC_TIMEOUT_SECONDS), or 0 when as many wait as may.

    A waiting call holds a thread, as an open event stream does, and shares their bound.
    """
    seconds = here.context.settings.sync_timeout_seconds if timeout is None else timeout
    if seconds <= 0 or not here.waiting_slots.acquire(blocking=False):
        yield 0.0
        return
    try:
        yield seconds
    finally:
        here.waiting_slots.release()


def answer(here: ApiContext, submitted: Submission, timeout: float | None) -> Answer:
    """The response for the job of this call. Raises the job's own error when it FAILED or was CANCELLED."""
    name_job(submitted.job_id)
    view = wait(here, submitted.job_id, timeout)
    if view.job.status is JobStatus.COMPLETED:
        return pictures_of(here.context, view), 200, {}
    raise_what_went_wrong(view)
    now = {"status": view.job.status, "position": view.position}
    body = StillWorking.of(submitted).model_copy(update=now)
    return body, 202, {"Location": body.status_url, "Retry-After": str(LOOK_AGAIN_SECONDS)}


def name_job(job_id: str) -> None:
    """Put the job's id into the present response's headers, whatever it will be: an error too is a job's."""

    @after_this_request
    def add_job_id(response: Response) -> Response:
        response.headers["X-Job-Id"] = job_id
        return response


def raise_what_went_wrong(view: JobView) -> None:
    """Raise the error of a job that FAILED or was CANCELLED; nothing for any other."""
    job = view.job
    if job.status is JobStatus.CANCELLED:
        raise JobCancelled(f"The job {job.id} was cancelled. Send the request again, or retry the job.")
    if job.status is JobStatus.FAILED:
        raise error_of(job.error_code or "internal", job.error_message or "")


def pictures_of(context: AppContext, view: JobView) -> Pictures:
    """A COMPLETED job as one answer, its pictures included."""
    return Pictures.of(view, [_encoded(context, output) for output in view.outputs])


def _encoded(context: AppContext, output: Output) -> str:
    return base64.b64encode(gallery.open_file(context, output).read_bytes()).decode()
