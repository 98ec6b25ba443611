"""Detects that the client of the current request has disconnected, so that its thread can stop waiting."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from flask import request

_SOCKETS = ("gunicorn.socket", "werkzeug.socket")  # where servers put the connection


def has_gone() -> Callable[[], bool]:
    """A function that says whether the client of the present request has closed its connection; it costs a system call
    or two. Always false where the server does not show its connections."""
    connection: socket.socket | None = next(filter(None, map(request.environ.get, _SOCKETS)), None)
    if connection is None:
        return lambda: False
    readable = select.poll()
    try:
        readable.register(connection, select.POLLIN)
    except (OSError, ValueError):  # closed already
        return lambda: True

    def gone() -> bool:
        try:  # readable with nothing to read is the end; else it is the next request
            return bool(readable.poll(0)) and connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    return gone
