"""The socket under a WebSocket, with atomic writes, a send timeout and a limit on what the client sends.

simple_websocket pings from a thread of its own, and neither locks the socket nor notices a frame that was sent in part.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import tempfile
import threading

MAX_RECEIVED_BYTES = 1_000_000  # from one client besides a picture: its request, pongs, its close frame
FREE_BYTES = 65_536  # of the first message that are received into memory without asking for room
SEND_TIMEOUT_SECONDS = 20  # for a client that reads nothing, with all buffers full
_PIECE = 65_536
_CLOSE = 0x8  # opcodes: from here on they are those of control frames


class FrameReader:
    """Follows the frames of a client without keeping them. `has_message`: a message is complete, or a close frame
    came; `has_close`: the latter."""

    def __init__(self) -> None:
        self.has_message = self.has_close = False
        self._head = bytearray()
        self._missing = 0  # bytes of the frame's payload

    def feed(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            if not self._missing:
                self._head.append(data[at])
                at += 1
                if len(self._head) < _head_size(self._head):
                    continue
                self._missing = _payload_size(self._head)
            skipped = min(self._missing, len(data) - at)
            at += skipped
            self._missing -= skipped
            if not self._missing:
                self._end_frame()

    def _end_frame(self) -> None:
        opcode, is_final = self._head[0] & 0x0F, self._head[0] & 0x80
        self._head.clear()
        self.has_close |= opcode == _CLOSE
        self.has_message |= opcode == _CLOSE or (opcode < _CLOSE and bool(is_final))


def _head_size(head: bytearray) -> int:
    """Of a frame whose first bytes are `head`."""
    if len(head) < 2:
        return 2
    return 2 + {126: 2, 127: 8}.get(head[1] & 0x7F, 0) + (4 if head[1] & 0x80 else 0)


def _payload_size(head: bytearray) -> int:
    short = head[1] & 0x7F
    return int.from_bytes(head[2 : {126: 4, 127: 10}[short]], "big") if short > 125 else short


class WebSocketTransport:
    """The part of a socket that simple_websocket uses. Sending raises OSError after SEND_TIMEOUT_SECONDS.

    A first message with pictures is received to a file past its first FREE_BYTES, and into memory only when it is
    complete and `grant_room` was called, for which `wants_room` asks: its sender may be slow, and must not hold memory
    meanwhile. It must not be compressed: a few bytes could unpack to many.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.received = 0  # bytes
        self._most = MAX_RECEIVED_BYTES
        self._picture_bytes = 0
        self._frames = FrameReader()
        self._is_ending = False
        self._knows_limit = threading.Event()
        self.wants_room = threading.Event()
        self._has_room = threading.Event()
        self._send_lock = threading.Lock()
        # By the kernel, not by Python's timeout: that would apply to reading too.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_TIMEOUT_SECONDS, 0))

    def send(self, data: bytes) -> int:
        with self._send_lock:
            self._socket.sendall(data)
        return len(data)

    def expect_pictures(self, most_bytes: int) -> None:
        """The first message may have up to so many bytes; 0: no pictures are expected. Until this is called, no more
        than FREE_BYTES are received."""
        self._picture_bytes = most_bytes
        self._most += most_bytes
        self._knows_limit.set()

    def grant_room(self) -> None:
        """Let the reading thread take the first message into memory."""
        self._has_room.set()

    def discard_rest(self) -> None:
        """Whatever still comes is read up to the client's close frame, but not kept: a socket closed with unread bytes
        would be reset, and the client would not see the last message."""
        self._is_ending = True
        self._knows_limit.set()
        self._has_room.set()

    def recv(self, size: int) -> bytes:
        """Raises OSError for a client that sends too much, whatever kind of frames it is, and at the end."""
        if self.received >= FREE_BYTES:
            self._knows_limit.wait()
        if self._is_ending:
            self._discard()
        if not self._picture_bytes or self._frames.has_message or self.received < FREE_BYTES:
            return self._receive(size)
        return self._receive_pictures()

    def _receive(self, size: int) -> bytes:
        data = self._socket.recv(size)
        self.received += len(data)
        if self.received > self._most:
            self.close()
            raise ConnectionResetError("the client sent too much")
        had_message = self._frames.has_message
        self._frames.feed(data)
        if self._frames.has_message and not had_message:
            self._most = self.received + MAX_RECEIVED_BYTES
        return data

    def _receive_pictures(self) -> bytes:
        """The rest of the first message in one piece, or as much of it as is too much for simple_websocket; nothing
        if the client has gone."""
        with tempfile.TemporaryFile() as file:
            while (
                not self._is_ending and not self._frames.has_message and self.received <= self._picture_bytes + _PIECE
            ):
                if not (data := self._receive(_PIECE)):
                    return b""
                file.write(data)
            self.wants_room.set()
            self._has_room.wait()
            if self._is_ending:
                self._discard()
            file.seek(0)
            return file.read()

    def _discard(self) -> None:
        while not self._frames.has_close and (data := self._socket.recv(_PIECE)):
            self._frames.feed(data)
        raise ConnectionAbortedError("the conversation is over")

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self.discard_rest()  # the reading thread must end
        with contextlib.suppress(OSError):  # the server holds it too: without this it would stay open for the client
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
