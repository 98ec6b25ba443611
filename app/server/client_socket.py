"""A client's connection with time limits: it holds a request thread while its bytes keep coming, and waits elsewhere.

Linux, macOS and the BSDs; what only Linux has is looked up with a default.
"""

from __future__ import annotations

import errno
import re
import select
import socket
import threading
import time
from collections import Counter
from typing import Any

from app.core.client_network import client_network

COLLECTED_BYTES = 32_768  # of a request, head and body: up to this it is collected whole before a thread is given
BODY_PATIENCE_SECONDS = 15.0  # for a body, and on top the time that it takes at the slowest rate
SLOWEST_RATE = 20_000  # bytes a second
ANSWER_PATIENCE_SECONDS = 60.0  # for a client to take an answer, and on top the time that it takes at the slowest rate
PIECE_BYTES = 262_144  # of a file, sent at a time
_LENGTH = re.compile(rb"\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r?\n", re.IGNORECASE)
_CODING = re.compile(rb"\ntransfer-encoding:", re.IGNORECASE)
_EXPECTATION = re.compile(rb"\nexpect:", re.IGNORECASE)


class Slots:
    """`total` threads that may wait for slow clients at a time, at most `share` of them for one address. The address ''
    stands for many clients: it may take all."""

    def __init__(self, total: int, share: int) -> None:
        self._total, self._share = total, share
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, address: str) -> bool:
        """Whether there was one."""
        with self._lock:
            share = self._share if address else self._total
            if self._taken.total() >= self._total or self._taken.get(address, 0) >= share:
                return False
            self._taken[address] += 1
            return True

    def give_back(self, address: str) -> None:
        with self._lock:
            self._taken[address] -= 1
            if not self._taken[address]:
                del self._taken[address]


class ClientSocket(socket.socket):
    """`setblocking(True)` begins a request; from then on reading and writing are limited, until `lift_limits`.

    `slots` are the threads that may wait for slow clients, of all connections together. A client that needs one when
    none is left is disconnected.
    """

    slots = Slots(1, share=1)
    _peer = ""
    _began = 0.0
    _received = 0
    _answer_began = 0.0
    _sent = 0
    _limited = False
    _may_wait = True
    _owes_continue = False
    _waits_for_more = False

    def has_whole_request(self) -> bool:
        """Whether the next request can be given to a thread: it is there as a whole, or too large to be collected, or
        there will be no more of it. If not, the socket counts as readable again when there is more."""
        try:
            seen = self.recv(2 * COLLECTED_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True  # the reader will see
        # Unix sockets know no SO_RCVLOWAT: the poller would spin. Behind them is a proxy that sends requests whole.
        missing = 0 if not seen or self.family == socket.AF_UNIX else _missing(seen)
        whole = not missing or self._has_no_more()
        if not whole or self._waits_for_more:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1 if whole else len(seen) + missing)
            self._waits_for_more = not whole
        return whole

    def _has_no_more(self) -> bool:
        """Whether the client has closed its side. Such a socket is readable for ever, whatever SO_RCVLOWAT says."""
        return self._is_ready(getattr(select, "POLLRDHUP", 0))  # Linux; elsewhere it is waited for

    def setblocking(self, flag: bool, /) -> None:
        self._limited, self._may_wait, self._owes_continue = flag, True, False
        if flag:
            self._began, self._received = time.monotonic(), 0
            self._answer_began, self._sent = 0.0, 0
            self.settimeout(ANSWER_PATIENCE_SECONDS)
        else:
            super().setblocking(False)

    def lift_limits(self) -> None:
        """The connection became a WebSocket, which may be silent."""
        self._limited = False
        self.settimeout(None)

    def ask_for_body(self) -> None:
        """Send `100 Continue` as soon as the application reads the body."""
        self._owes_continue = True

    def end_request(self) -> None:
        """It was answered: what has not come of it is not waited for any more."""
        self._may_wait = self._owes_continue = False

    def available(self) -> int:
        """Bytes that can be read without a wait, of a request that may be collected."""
        try:
            return len(super().recv(2 * COLLECTED_BYTES, socket.MSG_PEEK)) if self._is_ready(select.POLLIN) else 0
        except OSError:
            return 0

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        if not self._limited:
            return super().recv(bufsize, flags)
        left = self._began + BODY_PATIENCE_SECONDS + self._received / SLOWEST_RATE - time.monotonic()
        self._wait(select.POLLIN, left)
        data = super().recv(bufsize, flags)
        self._received += len(data)
        return data

    def sendall(self, data: bytes, flags: int = 0, /) -> None:  # type: ignore[override]
        rest = memoryview(data)
        while self._limited and rest:
            now = time.monotonic()
            self._answer_began = self._answer_began or now
            self._wait(select.POLLOUT, self._answer_began + ANSWER_PATIENCE_SECONDS + self._sent / SLOWEST_RATE - now)
            sent = super().send(rest, flags)
            self._sent += sent
            rest = rest[sent:]
        if rest:  # even nothing is waited with until the socket takes more
            super().sendall(rest, flags)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """As of `socket.socket`, which would wait for its client without a slot."""
        if not self._limited:
            return super().sendfile(file, offset, count)
        file.seek(offset)
        done = 0
        while piece := file.read(PIECE_BYTES if count is None else min(PIECE_BYTES, count - done)):
            self.sendall(piece)
            done += len(piece)
        return done

    def _wait(self, event: int, seconds: float) -> None:
        """Until the socket is ready for `event`. Raises ConnectionResetError when it takes too long, or when too many
        others are waited for; TimeoutError once the request has ended."""
        if self._is_ready(event):
            return
        if event == select.POLLIN:
            if not self._may_wait:
                raise TimeoutError("the request has ended")
            self._continue()
        if not self.slots.take(self._address()):
            raise ConnectionResetError(errno.ECONNRESET, "too many slow clients")
        try:
            if not self._is_ready(event, max(seconds, 0)):
                raise ConnectionResetError(errno.ECONNRESET, "the client was too slow")
        finally:
            self.slots.give_back(self._address())

    def _address(self) -> str:
        """Of the other side; '' for a Unix socket, behind which is a proxy."""
        if not self._peer and self.family != socket.AF_UNIX:
            try:
                self._peer = client_network(self.getpeername()[0])
            except OSError:  # it is gone
                self._peer = "?"
        return self._peer

    def _is_ready(self, event: int, seconds: float = 0) -> bool:
        poll = select.poll()
        poll.register(self, event)
        return bool(poll.poll(seconds * 1000))

    def _continue(self) -> None:
        if self._owes_continue:
            self._owes_continue = False
            super().sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def _missing(seen: bytes) -> int:
    """How many bytes have to come at least before it is worth looking again; 0 when the request can be given to a
    thread. This runs on the thread of all connections: it looks at the head alone, and in linear time."""
    head, found, body = seen.partition(b"\r\n\r\n")
    if not found:
        return 0 if b"\n\n" in seen or len(seen) >= COLLECTED_BYTES else 1  # neither is served: let it be refused
    head += b"\r\n"
    lengths = _LENGTH.findall(head)
    if len(lengths) != 1 or _CODING.search(head) or _EXPECTATION.search(head) or len(seen) >= COLLECTED_BYTES:
        return 0  # no body; chunks, whose end only a parser finds; a client that waits to be asked
    length = int(lengths[0])
    return 0 if length > COLLECTED_BYTES else max(0, length - len(body))
