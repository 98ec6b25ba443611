"""Follow a job live, as server-sent events.

`status` events carry the whole status body, `progress` events what changed between two of them, `preview` events a
small picture of what is being drawn. The id of an event is the job's revision, so a client that comes back with
Last-Event-ID misses nothing. A stream ends after the terminal event, or when the server stops; then the client connects
again.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator

from flask import Response, request

from app.api.documented import JobPath, answers, blueprint
from app.api.server import Server, server
from app.api.shapes import job_body
from app.core.job import JobStatus
from app.core.job_body import progress_body
from app.errors import CyberImageError, Gone, JobNotFound, Unavailable
from app.services import status
from app.services.status import JobView
from app.store.previews import Preview

api = blueprint("events", "jobs")

RECONNECT_MILLISECONDS = 1000
HEARTBEAT_SECONDS = 15.0  # proxies cut streams that are silent for longer
GLANCE_SECONDS = 1.0  # how soon a stream notices that the server stops

_STREAM = {
    "description": "`status`, `progress` and `preview` events; comments keep the connection alive.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}
_NOTHING_MORE = {"description": "The job has ended and the client has seen its last event."}


@api.get(
    "/api/jobs/<path:job_id>/events",
    responses=answers({200: _STREAM, 204: _NOTHING_MORE}, JobNotFound, Gone, Unavailable),
    description="Honours `Last-Event-ID`. Ends after the terminal event.",
)
def job_events(path: JobPath) -> Response:
    """Follow a job live"""
    here = server()
    job = status.view(here.installation, path.job_id).job
    seen = min(_last_event_id(), job.revision)
    if job.status.terminal and seen == job.revision:
        return Response(status=204)  # tells an EventSource to stop connecting again
    if not here.streams.acquire(blocking=False):
        raise Unavailable("Too many event streams are open. Poll the status instead.", retry_after=5)
    response = Response(_stream(here, path.job_id, seen), mimetype="text/event-stream")
    response.call_on_close(here.streams.release)
    response.headers.update({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
    return response


def _stream(here: Server, job_id: str, seen: int) -> Iterator[str]:
    yield f"retry: {RECONNECT_MILLISECONDS}\n\n"
    told: JobStatus | None = None
    pictured = (0, 0)
    spoke_at = time.monotonic()
    try:
        for view in here.newsroom.follow(job_id, after_revision=seen, idle_seconds=GLANCE_SECONDS):
            if view is not None:
                yield _event(view, whole=view.job.status is not told)
                told, spoke_at = view.job.status, time.monotonic()
                preview = here.installation.previews.get(job_id, newer_than=pictured) if _is_drawing(view) else None
                if preview is not None:
                    pictured = (preview.attempt, preview.step)
                    yield _preview_event(preview)
            elif time.monotonic() - spoke_at >= HEARTBEAT_SECONDS:
                yield ": still here\n\n"
                spoke_at = time.monotonic()
            if here.draining.is_set():
                return
    except CyberImageError as error:  # removed meanwhile; it is too late for a problem document
        yield f"event: problem\ndata: {json.dumps({'code': error.code, 'message': error.detail})}\n\n"


def _event(view: JobView, *, whole: bool) -> str:
    job = view.job
    data = job_body(view) if whole else {"job_id": job.id, "status": job.status, **progress_body(job)}
    if not whole:
        data |= {"position": view.position, "eta_seconds": view.eta_seconds}
    name = "status" if whole else "progress"
    return f"id: {job.revision}\nevent: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def _is_drawing(view: JobView) -> bool:
    return view.job.status is JobStatus.PROCESSING and view.job.progress.step > 0


def _preview_event(preview: Preview) -> str:
    """Without an id: a preview that was missed is of no use to anybody."""
    image = "data:image/webp;base64," + base64.b64encode(preview.webp).decode()
    return f"event: preview\ndata: {json.dumps({'step': preview.step, 'image': image})}\n\n"


def _last_event_id() -> int:
    text = request.headers.get("Last-Event-ID", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
