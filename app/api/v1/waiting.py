"""Wait for a job and answer with what became of it: the picture itself, its error, or 202 when it takes longer."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from flask import Response, after_this_request

from app.api.schemas.v1 import Pictures, StillWorking
from app.api.security.authorization import revocation_check
from app.api.security.client_identity import client_id
from app.api.server.client_disconnect import disconnect_probe
from app.api.server.context import ApiContext
from app.api.server.deferred_response import DeferredResponse, SilentEncoder, rest_of_request
from app.api.server.stream_listener import StreamListener
from app.core.addresses import network_of_client
from app.core.job import JobStatus, JobView
from app.core.output import Output
from app.errors import Conflict, Gone, JobCancelled, NotFound, Unavailable, error_of
from app.services.context import AppContext
from app.services.jobs import status
from app.services.jobs.cancel import cancel
from app.services.jobs.submit import Submission
from app.services.media import gallery

LOOK_AGAIN_SECONDS = 2  # Retry-After of a 202

Answer = tuple[Pictures | StillWorking, int, dict[str, str]]
Made = TypeVar("Made")


def when_done(
    here: ApiContext,
    job_id: str,
    timeout: float | None,
    answer: Callable[[JobView], Made],
    on_disconnect: Callable[[], None] | None = None,
) -> Made | DeferredResponse:
    """`answer` to the job when it has ended, or as it stands after `timeout` seconds (None = SYNC_TIMEOUT_SECONDS) or
    when the server stops. At once when as many calls wait as may.

    Under our own server no thread waits: `answer` is called later, in the context of this request. `on_disconnect` is
    called if the client leaves meanwhile.
    """
    seconds = here.context.settings.sync_timeout_seconds if timeout is None else timeout
    known = status.view(here.context, job_id)
    if seconds <= 0 or known.job.status.terminal or here.draining.is_set():
        return answer(known)
    if here.hands_over_sockets:
        return _later(here, job_id, seconds, answer, on_disconnect) or answer(known)
    with patience(here, seconds) as granted:
        view = here.notifier.wait_until_done(job_id, granted, give_up=has_given_up(here))
        if granted and on_disconnect is not None and not view.job.status.terminal and disconnect_probe()():
            on_disconnect()
        return answer(view)


def _later(
    here: ApiContext,
    job_id: str,
    seconds: float,
    answer: Callable[[JobView], Any],
    on_disconnect: Callable[[], None] | None,
) -> DeferredResponse | None:
    """None when as many connections wait as may."""
    try:
        here.stream_hub.reserve()
    except Unavailable:
        return None
    listener = StreamListener(
        job_id,
        SilentEncoder(),
        revocation_check(),
        client=network_of_client(client_id()),
        last_message=rest_of_request(lambda: answer(status.view(here.context, job_id))),
        seconds=seconds,
        on_disconnect=on_disconnect,
    )
    return DeferredResponse(here.stream_hub, listener)


def cancelling(here: ApiContext, job_id: str) -> Callable[[], None]:
    """What to do when the client of the current request leaves before its job has ended: as FACADE_CANCEL_ON_DISCONNECT
    says. A job that another call waits for goes on."""

    def on_disconnect() -> None:
        if here.context.settings.facade_cancel_on_disconnect and not here.stream_hub.is_followed(job_id):
            with contextlib.suppress(Conflict, NotFound, Gone):
                cancel(here.context, job_id)

    return on_disconnect


def has_given_up(here: ApiContext) -> Callable[[], bool]:
    """Whether there is no use in waiting on: the server is to stop, or the client of the current request has gone."""
    gone = disconnect_probe()
    return lambda: here.draining.is_set() or gone()


@contextlib.contextmanager
def patience(here: ApiContext, timeout: float | None) -> Iterator[float]:
    """How many seconds this request may wait in its thread: `timeout` (None = SYNC_TIMEOUT_SECONDS), or 0 when as many
    threads wait as may."""
    seconds = here.context.settings.sync_timeout_seconds if timeout is None else timeout
    if seconds <= 0 or not here.waiting_slots.acquire(blocking=False):
        yield 0.0
        return
    try:
        yield seconds
    finally:
        here.waiting_slots.release()


def answer(here: ApiContext, submitted: Submission, timeout: float | None) -> Answer | DeferredResponse:
    """The response for the job of this call. Raises the job's own error when it FAILED or was CANCELLED."""
    name_job(submitted.job_id)
    return when_done(here, submitted.job_id, timeout, partial(_answer, here, submitted))


def _answer(here: ApiContext, submitted: Submission, view: JobView) -> Answer:
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
    return base64.b64encode(gallery.read_file(context, output)).decode()
