"""Responses that are made later, without a request thread: of calls that wait for their job.

The view returns a DeferredResponse; the server hands the socket over, as for an event stream, before a byte was sent.
What is left of the request, from the view's answer to the hooks after it, runs once the job has ended, in the context
of the request: it is measured, logged and given headers like any other.
"""

from __future__ import annotations

import contextvars
import socket
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any, cast

from flask import Flask, Response, current_app, request

from app.api.server.event_streams import EventStreamHub
from app.api.server.last_messages import LastMessage
from app.api.server.socket_handover import HandedOver
from app.api.server.stream_listener import StreamListener
from app.core.job import JobView
from app.errors import CyberImageError
from app.store.queue.previews import Preview


class SilentEncoder:
    """Of a call that waits: there is nothing to send before its response."""

    def encode(self, state: JobView, preview: Preview | None) -> Iterator[bytes]:
        return iter(())

    def error_event(self, error: CyberImageError) -> bytes:
        return b""

    def keepalive(self) -> bytes:
        return b""


class DeferredResponse(Response):
    """Stands for the response that `listener` gets as its last message, in the place that the caller reserved."""

    def __init__(self, hub: EventStreamHub, listener: StreamListener) -> None:
        super().__init__(_handing_over(hub, listener))
        self.call_on_close(lambda: hub.release_unless_handed_over(listener))


def _handing_over(hub: EventStreamHub, listener: StreamListener) -> Iterator[bytes]:
    def accept(sock: socket.socket, *, chunked: bool) -> None:
        hub.attach(listener, sock, chunked=False)  # its response says its length

    listener.mark_handed_over()
    raise HandedOver(accept)
    yield b""


def rest_of_request(answer: Callable[[], Any]) -> LastMessage:
    """The whole response of the current request, head and body, as bytes: made when it is called, by any thread, of
    what `answer` returns as a view does, or raises."""
    app = cast(Any, current_app)._get_current_object()
    context = contextvars.copy_context()  # with Flask's: `request` and `g` go on to be this request's

    def view(error: CyberImageError | None) -> Any:
        if error is not None:
            raise error
        return answer()

    return lambda error: context.run(_rendered, app, lambda: view(error))


def in_this_request(make: LastMessage) -> LastMessage:
    """`make`, to be called in the context of the current request."""
    context = contextvars.copy_context()
    return lambda error: context.run(make, error)


def _rendered(app: Flask, view: Callable[[], Any]) -> bytes:
    try:
        result = view()
    except Exception as error:  # noqa: BLE001 - as Flask does around a view
        result = app.handle_user_exception(error)
    return _encoded(app.finalize_request(result))


def _encoded(response: Response) -> bytes:
    """As HTTP/1.1. The connection is not used again: the server has forgotten it."""
    body = response.get_data()
    headers = response.get_wsgi_headers(request.environ)
    headers["Content-Length"] = str(len(body))
    headers.setdefault("Date", formatdate(usegmt=True))
    headers["Connection"] = "close"
    lines = [f"HTTP/1.1 {response.status}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
