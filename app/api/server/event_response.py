"""The response of a request that is answered by an event stream."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from flask import Response

from app.api.server.context import ApiContext
from app.api.server.socket_handover import hand_over, relay
from app.api.server.stream_listener import StreamListener


def event_response(stream: Iterator[bytes]) -> Response:
    response = Response(stream, mimetype="text/event-stream")
    response.headers.update({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
    return response


def streamed(here: ApiContext, listener: StreamListener, first: bytes) -> Response:
    """The stream of `listener`, which begins with `first`, in the place that the caller reserved."""
    pass_on = hand_over if here.hands_over_sockets else relay
    stream = pass_on(first, partial(here.stream_hub.attach, listener), listener.mark_handed_over)
    response = event_response(stream)
    response.call_on_close(partial(here.stream_hub.release_unless_handed_over, listener))
    return response
