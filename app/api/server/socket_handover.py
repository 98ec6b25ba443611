"""Takes a long-lived response out of the request thread, by handing its connection over.

Under our own server the socket itself is handed over: server/gunicorn_internals.py catches HandedOver. Under any other,
such as a test client, the stream comes through a pair of sockets, and a request thread relays it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextvars import ContextVar

Accept = Callable[..., None]  # (socket, *, chunked) takes over a connection
MAX_MESSAGE_BYTES = 1 << 20

# Makes the present response say `Connection: close`; server/gunicorn_internals.py sets it for each request. Without it
# a client keeps the connection for its next request, and finds it closed.
announce_close: ContextVar[Callable[[], None]] = ContextVar("announce_close")


def _has_no_timeouts() -> None:
    """Of other servers' connections."""


# Removes the time limits of the present connection, once it is a WebSocket; server/gunicorn_internals.py sets it too.
disable_timeouts: ContextVar[Callable[[], None]] = ContextVar("disable_timeouts", default=_has_no_timeouts)


class HandedOver(BaseException):
    """Not an error: the head of the response was sent, and `accept` takes the connection. A BaseException, so that it
    passes through everything that catches exceptions."""

    def __init__(self, accept: Accept) -> None:
        self.accept = accept
        super().__init__()


def hand_over(first: bytes, accept: Accept, on_handover: Callable[[], None]) -> Iterator[bytes]:
    """Sends `first`, then hands the connection over to `accept`. `on_handover` is called when that is certain."""
    announce_close.get()()

    def stream() -> Iterator[bytes]:
        yield first
        on_handover()
        raise HandedOver(accept)

    return stream()


def relay(first: bytes, accept: Accept, on_handover: Callable[[], None]) -> Iterator[bytes]:
    """The same for a server whose sockets cannot be handed over."""
    yield first
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # which keeps messages apart
    with ours:
        on_handover()
        accept(theirs, chunked=False)
        while message := ours.recv(MAX_MESSAGE_BYTES):
            yield message
