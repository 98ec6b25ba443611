"""Hands the socket of an endless response over, out of the request thread.

Under our own server the socket itself is handed over (server/gunicorn_worker.py catches HandedOver). Anywhere else,
such as a test client, the stream comes through a pair of sockets, and a request thread carries it on.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextvars import ContextVar

Accept = Callable[..., None]  # (socket, *, chunked) takes over a connection
LARGEST_MESSAGE = 1 << 20

# Has the present answer say `Connection: close`; server/gunicorn_worker.py sets it for each request. Without it
# a client keeps the connection for its next request, and finds it closed.
announce_close: ContextVar[Callable[[], None]] = ContextVar("announce_close")


def _no_limits() -> None:
    """Of servers other than ours, whose connections have none."""


# Takes the time limits off the present connection, once it is a WebSocket; server/gunicorn_worker.py sets it as well.
lift_limits: ContextVar[Callable[[], None]] = ContextVar("lift_limits", default=_no_limits)


class HandedOver(BaseException):
    """Not an error: the head of the answer is sent, and `accept` wants the connection. Passes through everything that
    catches exceptions."""

    def __init__(self, accept: Accept) -> None:
        self.accept = accept
        super().__init__()


def hand_over(first: bytes, accept: Accept, promise: Callable[[], None]) -> Iterator[bytes]:
    """`first`, then the connection is `accept`'s. `promise` is called when that is certain."""
    announce_close.get()()

    def stream() -> Iterator[bytes]:
        yield first
        promise()
        raise HandedOver(accept)

    return stream()


def carry(first: bytes, accept: Accept, promise: Callable[[], None]) -> Iterator[bytes]:
    """The same for a server that does not give its sockets away."""
    yield first
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # which keeps messages apart
    with ours:
        promise()
        accept(theirs, chunked=False)
        while message := ours.recv(LARGEST_MESSAGE):
            yield message
