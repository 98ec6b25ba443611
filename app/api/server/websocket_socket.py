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

MAX_RECEIVED_BYTES = 1_000_000  # from one client besides a picture: its request, pongs, its close frame
FREE_BYTES = 65_536  # received without asking for room
SEND_TIMEOUT_SECONDS = 20  # for a client that reads nothing, with all buffers full


class BoundedInbox(list[Any]):
    """Unread messages, in place of simple_websocket's list, which is unbounded. Raises OSError into the reading thread
    for a client that sends too much: a few compressed bytes may unpack to many."""

    def __init__(self, messages: Iterable[Any], most: int = MAX_RECEIVED_BYTES) -> None:
        super().__init__(messages)
        self._most = most
        self._received = sum(map(len, self))

    def append(self, message: Any) -> None:
        self._received += len(message)
        if self._received > self._most:
            raise ConnectionResetError("the client sent too much")
        super().append(message)


class WebSocketTransport:
    """The part of a socket that simple_websocket uses. Sending raises OSError after SEND_TIMEOUT_SECONDS.

    With `picture_bytes`, so many more may come; but no more than FREE_BYTES are read before `grant_room`, for which
    `wants_room` asks: what is not read stays with the client.
    """

    def __init__(self, sock: socket.socket, picture_bytes: int = 0) -> None:
        self._socket = sock
        self._received = 0
        self._most = MAX_RECEIVED_BYTES + picture_bytes
        self.wants_room = threading.Event()
        self._has_room = threading.Event()
        if not picture_bytes:
            self.grant_room()
        self._send_lock = threading.Lock()
        # By the kernel, not by Python's timeout: that would apply to reading too.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_TIMEOUT_SECONDS, 0))

    def send(self, data: bytes) -> int:
        with self._send_lock:
            self._socket.sendall(data)
        return len(data)

    def grant_room(self) -> None:
        """Let the reading thread go on past FREE_BYTES."""
        self._has_room.set()

    def recv(self, size: int) -> bytes:
        """Raises OSError for a client that sends too much, whatever kind of frames it is."""
        if self._received >= FREE_BYTES and not self._has_room.is_set():
            self.wants_room.set()
            self._has_room.wait()
        data = self._socket.recv(size)
        self._received += len(data)
        if self._received > self._most:
            self.close()
            raise ConnectionResetError("the client sent too much")
        return data

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self.grant_room()  # the reading thread must end
        with contextlib.suppress(OSError):  # the server holds it too: without this it would stay open for the client
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
