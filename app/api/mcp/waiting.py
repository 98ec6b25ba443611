"""Tools that wait for a job: without a thread, with events about its progress if they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from flask import Response

from app.api.http.problems import unexpected
from app.api.mcp.content import Result, generation_result
from app.api.mcp.errors import error_message, tool_error
from app.api.mcp.messages import Call, accepts_events, answer, event, response
from app.api.security.authorization import revocation_check
from app.api.security.client_identity import client_id
from app.api.server.context import ApiContext
from app.api.server.deferred_response import DeferredResponse, in_this_request
from app.api.server.event_response import streamed
from app.api.server.stream_listener import StreamListener
from app.api.v1.waiting import cancelling, name_job, raise_what_went_wrong, when_done
from app.core.addresses import network_of_client
from app.core.job import JobStatus, JobView, Phase
from app.errors import CyberImageError
from app.services.context import AppContext
from app.services.jobs import status
from app.store.queue.previews import Preview

Waited = Response | DeferredResponse
ResultOf = Callable[[AppContext, JobView], Result]
_PHASES = {
    Phase.STARTING: "Starting",
    Phase.DOWNLOADING: "Downloading the model",
    Phase.LOADING: "Loading the model",
    Phase.ENCODING: "Reading the prompt",
    Phase.DECODING: "Decoding the picture",
    Phase.SAVING: "Saving",
    Phase.DONE: "Done",
}


def result_when_done(
    here: ApiContext, call: Call, begin: Callable[[], str], seconds: float, result: ResultOf
) -> Waited:
    """`result` of the job whose id `begin` gives, when it has ended or `seconds` are over. The place of a stream is
    taken first: a job whose stream is refused would be of no use. SYNC_TIMEOUT_SECONDS is the longest wait."""
    seconds = min(seconds, here.context.settings.sync_timeout_seconds)
    if seconds <= 0 or not accepts_events():
        job_id = _begun(call, begin)
        return when_done(here, job_id, seconds, partial(_answer, here, call, result), cancelling(here, job_id))
    here.stream_hub.reserve()
    try:
        job_id = _begun(call, begin)
        listener = StreamListener(
            job_id,
            ProgressEncoder(call),
            revocation_check(),
            client=network_of_client(client_id()),
            last_message=in_this_request(partial(_last_event, here, call, job_id, result)),
            seconds=seconds,
            on_disconnect=cancelling(here, job_id),
        )
    except BaseException:
        here.stream_hub.release()
        raise
    return streamed(here, listener, b": waiting\n")


def _begun(call: Call, begin: Callable[[], str]) -> str:
    job_id = begin()
    call.forget()
    name_job(job_id)
    return job_id


def drawn(context: AppContext, view: JobView) -> Result:
    """Of tools that draw: raises the error of a job that failed."""
    raise_what_went_wrong(view)
    return generation_result(context, view)


def _answer(here: ApiContext, call: Call, result: ResultOf, view: JobView) -> Response:
    return response(call, result(here.context, view))


def _last_event(here: ApiContext, call: Call, job_id: str, result: ResultOf, error: CyberImageError | None) -> bytes:
    try:
        if error is not None:
            raise error
        return event(answer(call, result(here.context, status.view(here.context, job_id))))
    except CyberImageError as wrong:
        return event(answer(call, tool_error(wrong)))
    except Exception as fault:  # noqa: BLE001 - as Flask does around a view
        return event(error_message(unexpected(fault), call.id))


class ProgressEncoder:
    """Encodes the progress of one call. Its numbers only grow, as the protocol wants, also in a second attempt."""

    def __init__(self, call: Call) -> None:
        self._token = call.progress_token
        self._percent = -1

    def encode(self, state: JobView, preview: Preview | None) -> Iterator[bytes]:
        percent = 0 if state.job.status is JobStatus.PENDING else state.job.progress.percent
        if self._token is not None and percent > self._percent:
            self._percent = percent
            about = {"progressToken": self._token, "progress": percent, "total": 100, "message": _words(state)}
            yield event({"jsonrpc": "2.0", "method": "notifications/progress", "params": about})

    def error_event(self, error: CyberImageError) -> bytes:
        return b""  # there is a last message

    def keepalive(self) -> bytes:
        return b": still here\n"


def _words(state: JobView) -> str:
    progress = state.job.progress
    if state.job.status is JobStatus.PENDING:
        return "Waiting" if state.position is None else f"Waiting, place {state.position} in the queue"
    return _PHASES.get(progress.phase) or f"Step {progress.step} of {progress.total_steps}"
