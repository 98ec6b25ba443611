"""The socket under a WebSocket: what two threads write comes out whole, one after the other, and none waits for ever.

simple_websocket pings from a thread of its own, and neither guards the socket nor sees when a frame went out in part.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

SEND_SECONDS = 20  # a listener that reads nothing for so long, with all buffers full, is taken for gone


class Wire:
    """Offers what simple_websocket wants of a socket. Sending raises OSError once the listener is taken for gone."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()
        # By the kernel, not by Python's timeout: that would hold for reading too.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_SECONDS, 0))

    def send(self, data: bytes) -> int:
        with self._sending:
            self._socket.sendall(data)
        return len(data)

    def recv(self, size: int) -> bytes:
        return self._socket.recv(size)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the server holds it too: without this it would not close for the client
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
