"""Follow a job live, as server-sent events.

`status` events carry the whole status body, `progress` events what changed between two of them, `preview` events a
small picture of what is being drawn. The id of an event is the job's revision, so a client that comes back with
Last-Event-ID misses nothing. A stream ends after the terminal event, or when the server stops; then the client connects
again. All open streams are served by one thread: see app/api/server/event_streams.py.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from flask import Response, request

from app.api.http.openapi import JobPath, blueprint, responses
from app.api.routing import Access
from app.api.security.authorization import revocation_check
from app.api.server.context import api_context
from app.api.server.event_response import event_response, streamed
from app.api.server.stream_listener import StreamListener
from app.core.job import JobStatus, JobView
from app.errors import CyberImageError, Gone, JobNotFound, Unavailable
from app.services.job_body import JobBody, ProgressBody
from app.services.urls import url_prefix, with_url_prefix
from app.store.queue.previews import Preview

api = blueprint("events", "jobs")

RECONNECT_MILLISECONDS = 1000


def stream_response(events: str) -> dict[str, Any]:
    """An event stream in the document of the API; `events` names what comes."""
    return {
        "description": f"{events} events; comments keep the connection alive.",
        "content": {"text/event-stream": {"schema": {}}},
    }


_NOTHING_MORE = {"description": "The job has ended and the client has seen its last event."}


@api.get(
    "/api/jobs/<job_id>/events",
    access=Access.USER,
    budget="read",
    polled=True,
    responses=responses(
        {200: stream_response("`status`, `progress` and `preview`"), 204: _NOTHING_MORE}, JobNotFound, Gone, Unavailable
    ),
    description="Honours `Last-Event-ID`. Ends after the terminal event.",
)
def job_events(path: JobPath) -> Response:
    """Stream a job's events"""
    here = api_context()
    job = here.context.jobs.get(path.job_id)
    seen = min(_last_event_id(), job.revision)
    if job.status.terminal and seen == job.revision:
        return Response(status=204)  # an EventSource then stops reconnecting
    if request.method == "HEAD":
        return event_response(iter(()))
    here.stream_hub.reserve()
    listener = StreamListener(path.job_id, JobEventEncoder(seen), revocation_check())
    first = f"retry: {RECONNECT_MILLISECONDS}\n".encode()  # a part of the first event: some clients report empty ones
    return streamed(here, listener, first)


class JobEventEncoder:
    """Encodes the events of one client's stream; `seen` is the revision that the client has already."""

    def __init__(self, seen: int) -> None:
        self._seen = seen
        self._prefix = url_prefix()  # of the request; what follows is written by another thread
        self._sent_status: JobStatus | None = None
        self._pictured = (0, 0)

    def encode(self, state: JobView, preview: Preview | None) -> Iterator[bytes]:
        if state.job.revision > self._seen:
            with with_url_prefix(self._prefix):
                event = _event(state, whole=state.job.status is not self._sent_status)
            yield event
            self._seen, self._sent_status = state.job.revision, state.job.status
        if preview is not None and (preview.attempt, preview.step) > self._pictured:
            self._pictured = (preview.attempt, preview.step)
            yield _preview_event(preview)

    def error_event(self, error: CyberImageError) -> bytes:
        return problem_event(error)

    def keepalive(self) -> bytes:
        return keepalive()


def problem_event(error: CyberImageError) -> bytes:
    return f"event: problem\ndata: {json.dumps({'code': error.code, 'message': error.detail})}\n\n".encode()


def keepalive() -> bytes:
    return b": still here\n"  # no blank line: some clients report an event without data


def _event(view: JobView, *, whole: bool) -> bytes:
    job = view.job
    data = JobBody.of(view).as_dict() if whole else _progress(view)
    name = "status" if whole else "progress"
    return f"id: {job.revision}\nevent: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def _progress(view: JobView) -> dict[str, Any]:
    job, estimate = view.job, {"position": view.position, "eta_seconds": view.eta_seconds}
    return {"job_id": job.id, "status": job.status, **ProgressBody.of(job.progress).as_dict(), **estimate}


def _preview_event(preview: Preview) -> bytes:
    """Without an id: a missed preview is not sent again."""
    image = "data:image/webp;base64," + base64.b64encode(preview.webp).decode()
    return f"event: preview\ndata: {json.dumps({'step': preview.step, 'image': image})}\n\n".encode()


def _last_event_id() -> int:
    text = request.headers.get("Last-Event-ID", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
