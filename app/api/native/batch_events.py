"""Follow a batch live, as server-sent events.

`status` events carry the counts, the percent and the estimated end; the pictures are read at `/api/batches/<id>` by
place. The id of an event is the batch's revision, which a client that comes back sends as Last-Event-ID. A stream ends
after the event that says ENDED, or when the server stops; then the client connects again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from flask import Response, request

from app.api.http.openapi import BatchPath, blueprint, responses
from app.api.native.events import RECONNECT_MILLISECONDS, keepalive, problem_event, stream_response
from app.api.routing import Access
from app.api.schemas.batches import BatchProgress
from app.api.security.authorization import revocation_check
from app.api.server.context import api_context
from app.api.server.event_response import event_response, streamed
from app.api.server.stream_listener import StreamListener
from app.core.batches.batch import BatchStatus
from app.errors import BatchNotFound, CyberImageError, Gone, Unavailable
from app.services.batches.view import BatchView
from app.services.urls import url_prefix, with_url_prefix
from app.store.queue.previews import Preview

api = blueprint("batch_events", "batches")

_NOTHING_MORE = {"description": "The batch has ended and the client has seen its last event."}


@api.get(
    "/api/batches/<batch_id>/events",
    access=Access.USER,
    budget="read",
    polled=True,
    responses=responses({200: stream_response("`status`"), 204: _NOTHING_MORE}, BatchNotFound, Gone, Unavailable),
    description="An event when its counts, its status or its priority change, about one a second at most. Honours"
    " `Last-Event-ID`. Ends when every job has ended; a batch that goes on by a retry or more jobs is followed anew.",
)
def batch_events(path: BatchPath) -> Response:
    """Stream the progress of a batch"""
    here, seen = api_context(), request.headers.get("Last-Event-ID", "")
    batch = here.context.batches.get(path.batch_id)
    if batch.status is BatchStatus.ENDED and seen == batch.revision:
        return Response(status=204)  # an EventSource then stops reconnecting
    if request.method == "HEAD":
        return event_response(iter(()))
    here.stream_hub.reserve()
    listener = StreamListener(path.batch_id, BatchEventEncoder(seen), revocation_check(), kind="batch")
    return streamed(here, listener, f"retry: {RECONNECT_MILLISECONDS}\n".encode())


class BatchEventEncoder:
    """Encodes the events of one client's stream; `seen` is the revision that the client has already."""

    def __init__(self, seen: str) -> None:
        self._seen = seen
        self._prefix = url_prefix()  # of the request; what follows is written by another thread

    def encode(self, state: BatchView, preview: Preview | None) -> Iterator[bytes]:
        revision = state.batch.revision
        if revision == self._seen:
            return
        self._seen = revision
        with with_url_prefix(self._prefix):
            data = json.dumps(BatchProgress.of_view(state).as_dict(), ensure_ascii=False)
        yield f"id: {revision}\nevent: status\ndata: {data}\n\n".encode()

    def error_event(self, error: CyberImageError) -> bytes:
        return problem_event(error)

    def keepalive(self) -> bytes:
        return keepalive()
