"""Detects that the client of a request has disconnected, so that no thread waits on its behalf."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from flask import request

SOCKETS = ("gunicorn.socket", "werkzeug.socket")  # the environ keys under which servers pass the connection


def disconnect_probe() -> Callable[[], bool]:
    """A function that returns True once the client of the current request has closed its connection; it costs a system
    call or two. Always False where the server does not pass its connections."""
    connection: socket.socket | None = next(filter(None, map(request.environ.get, SOCKETS)), None)
    if connection is None:
        return lambda: False
    readable = select.poll()
    try:
        readable.register(connection, select.POLLIN)
    except (OSError, ValueError):  # closed already
        return lambda: True

    def has_disconnected() -> bool:
        try:  # readable with no data is the end; with data, it is the next request
            return bool(readable.poll(0)) and connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    return has_disconnected
