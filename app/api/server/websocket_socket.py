"""The socket under a WebSocket, with atomic writes, a send timeout and a limit on what the client sends.

simple_websocket pings from a thread of its own, and neither locks the socket nor notices a frame that was sent in part.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterable
from typing import Any

MAX_RECEIVED_BYTES = 1_000_000  # from one client in all: its request, pongs, its close frame
SEND_TIMEOUT_SECONDS = 20  # for a client that reads nothing, with all buffers full


class BoundedInbox(list[Any]):
    """Unread messages, in place of simple_websocket's list, which is unbounded. Raises OSError into the reading thread
    for a client that sends too much: a few compressed bytes may unpack to many."""

    def __init__(self, messages: Iterable[Any]) -> None:
        super().__init__(messages)
        self._received = sum(map(len, self))

    def append(self, message: Any) -> None:
        self._received += len(message)
        if self._received > MAX_RECEIVED_BYTES:
            raise ConnectionResetError("the client sent too much")
        super().append(message)


class WebSocketTransport:
    """The part of a socket that simple_websocket uses. Sending raises OSError after SEND_TIMEOUT_SECONDS."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._received = 0
        self._send_lock = threading.Lock()
        # By the kernel, not by Python's timeout: that would apply to reading too.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_TIMEOUT_SECONDS, 0))

    def send(self, data: bytes) -> int:
        with self._send_lock:
            self._socket.sendall(data)
        return len(data)

    def recv(self, size: int) -> bytes:
        """Raises OSError for a client that sends too much, whatever kind of frames it is."""
        data = self._socket.recv(size)
        self._received += len(data)
        if self._received > MAX_RECEIVED_BYTES:
            self.close()
            raise ConnectionResetError("the client sent too much")
        return data

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the server holds it too: without this it would stay open for the client
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
