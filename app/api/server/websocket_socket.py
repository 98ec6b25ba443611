"""The socket under a WebSocket: what two threads write comes out whole, one after the other, and none waits for ever.

simple_websocket pings from a thread of its own, and neither guards the socket nor sees when a frame went out in part.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterable
from typing import Any

LONGEST_SPEECH = 1_000_000  # bytes that a listener may send in all: its request, pongs, its goodbye
SEND_SECONDS = 20  # a listener that reads nothing for so long, with all buffers full, is taken for gone


class Inbox(list[Any]):
    """Received, unread messages, in place of simple_websocket's list, which grows without a bound. Raises
    OSError into the thread that reads, for a listener that does not stop talking: few bytes may unpack to much."""

    def __init__(self, messages: Iterable[Any]) -> None:
        super().__init__(messages)
        self._heard = sum(map(len, self))

    def append(self, message: Any) -> None:
        self._heard += len(message)
        if self._heard > LONGEST_SPEECH:
            raise ConnectionResetError("the listener says too much")
        super().append(message)


class Wire:
    """Offers what simple_websocket wants of a socket. Sending raises OSError once the listener is taken for gone."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._heard = 0
        self._sending = threading.Lock()
        # By the kernel, not by Python's timeout: that would hold for reading too.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_SECONDS, 0))

    def send(self, data: bytes) -> int:
        with self._sending:
            self._socket.sendall(data)
        return len(data)

    def recv(self, size: int) -> bytes:
        """Raises OSError for a listener that does not stop talking, in whatever kind of frames."""
        data = self._socket.recv(size)
        self._heard += len(data)
        if self._heard > LONGEST_SPEECH:
            self.close()
            raise ConnectionResetError("the listener says too much")
        return data

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the server holds it too: without this it would not close for the client
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
