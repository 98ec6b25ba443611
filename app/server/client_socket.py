"""A client's socket with time limits: slow clients hold few request threads, and each for a limited time.

For Linux, macOS and the BSDs; constants that only Linux has are looked up with a default.
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

from app.core.addresses import client_network

MAX_BUFFERED_BYTES = 32_768  # a request up to this size, head and body, gets a thread only when it is complete
BODY_TIMEOUT_SECONDS = 15.0  # for a request's body, plus the time that it takes at the minimum rate
MIN_BYTES_PER_SECOND = 20_000
RESPONSE_TIMEOUT_SECONDS = 60.0  # for the client to read a response, plus the time that it takes at the minimum rate
FILE_CHUNK_BYTES = 262_144
_LENGTH = re.compile(rb"\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r?\n", re.IGNORECASE)
_CODING = re.compile(rb"\ntransfer-encoding:", re.IGNORECASE)
_EXPECTATION = re.compile(rb"\nexpect:", re.IGNORECASE)


class Slots:
    """Limits how many threads wait for slow clients: `total` at a time, at most `share` of them for one address. The
    address '' stands for many clients: it may use all."""

    def __init__(self, total: int, share: int) -> None:
        self._total, self._share = total, share
        self._in_use: Counter[str] = Counter()
        self._lock = threading.Lock()

    def acquire(self, address: str) -> bool:
        """False if no slot was free."""
        with self._lock:
            share = self._share if address else self._total
            if self._in_use.total() >= self._total or self._in_use.get(address, 0) >= share:
                return False
            self._in_use[address] += 1
            return True

    def release(self, address: str) -> None:
        with self._lock:
            self._in_use[address] -= 1
            if not self._in_use[address]:
                del self._in_use[address]


class ClientSocket(socket.socket):
    """`setblocking(True)` begins a request; from then on reading and writing are limited, until `disable_timeouts`.

    `slots` are shared by all connections. A client that needs one when none is free is disconnected.
    """

    slots = Slots(1, share=1)
    _peer_network = ""
    _request_began = 0.0
    _received = 0
    _response_began = 0.0
    _sent = 0
    _is_limited = False
    _may_wait = True
    _continue_is_due = False
    _has_low_water_mark = False

    def is_request_ready(self) -> bool:
        """True if the next request can be given to a thread: it is complete, or too large to be buffered, or the client
        closed its side. If not, the socket becomes readable again when more has come."""
        try:
            seen = self.recv(2 * MAX_BUFFERED_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True  # the parser will raise it again
        # Unix sockets have no SO_RCVLOWAT: the poller would spin. Behind them is a proxy that sends requests whole.
        missing = 0 if not seen or self.family == socket.AF_UNIX else _missing_bytes(seen)
        ready = not missing or self._is_closed_by_peer()
        if not ready or self._has_low_water_mark:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1 if ready else len(seen) + missing)
            self._has_low_water_mark = not ready
        return ready

    def _is_closed_by_peer(self) -> bool:
        """Such a socket stays readable, whatever SO_RCVLOWAT says."""
        return self._is_ready(getattr(select, "POLLRDHUP", 0))  # Linux; elsewhere the connection times out

    def setblocking(self, flag: bool, /) -> None:
        self._is_limited, self._may_wait, self._continue_is_due = flag, True, False
        if flag:
            self._request_began, self._received = time.monotonic(), 0
            self._response_began, self._sent = 0.0, 0
            self.settimeout(RESPONSE_TIMEOUT_SECONDS)
        else:
            super().setblocking(False)

    def disable_timeouts(self) -> None:
        """For a WebSocket, which may be silent."""
        self._is_limited = False
        self.settimeout(None)

    def send_continue_before_body(self) -> None:
        """Send `100 Continue` when the body is read, and not before."""
        self._continue_is_due = True

    def end_request(self) -> None:
        """The response was sent: what is missing of the request's body is not waited for any more."""
        self._may_wait = self._continue_is_due = False

    def readable_bytes(self) -> int:
        """How many bytes of a buffered request can be read without waiting."""
        try:
            return len(super().recv(2 * MAX_BUFFERED_BYTES, socket.MSG_PEEK)) if self._is_ready(select.POLLIN) else 0
        except OSError:
            return 0

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        if not self._is_limited:
            return super().recv(bufsize, flags)
        deadline = self._request_began + BODY_TIMEOUT_SECONDS + self._received / MIN_BYTES_PER_SECOND
        self._wait(select.POLLIN, deadline)
        data = super().recv(bufsize, flags)
        self._received += len(data)
        return data

    def sendall(self, data: bytes, flags: int = 0, /) -> None:  # type: ignore[override]
        rest = memoryview(data)
        while self._is_limited and rest:
            self._response_began = self._response_began or time.monotonic()
            deadline = self._response_began + RESPONSE_TIMEOUT_SECONDS + self._sent / MIN_BYTES_PER_SECOND
            self._wait(select.POLLOUT, deadline)
            sent = super().send(rest, flags)
            self._sent += sent
            rest = rest[sent:]
        if rest:  # sending nothing would wait until the socket is writable
            super().sendall(rest, flags)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """As `socket.socket.sendfile`, which would wait for the client without a slot."""
        if not self._is_limited:
            return super().sendfile(file, offset, count)
        file.seek(offset)
        sent = 0
        while chunk := file.read(FILE_CHUNK_BYTES if count is None else min(FILE_CHUNK_BYTES, count - sent)):
            self.sendall(chunk)
            sent += len(chunk)
        return sent

    def _wait(self, event: int, deadline: float) -> None:
        """Until the socket is ready for `event`. Raises ConnectionResetError after the deadline, or when no slot is
        free; TimeoutError once the request has ended."""
        if self._is_ready(event):
            return
        if event == select.POLLIN:
            if not self._may_wait:
                raise TimeoutError("the request has ended")
            self._send_due_continue()
        if not self.slots.acquire(self._client_network()):
            raise ConnectionResetError(errno.ECONNRESET, "too many slow clients")
        try:
            if not self._is_ready(event, max(deadline - time.monotonic(), 0)):
                raise ConnectionResetError(errno.ECONNRESET, "the client was too slow")
        finally:
            self.slots.release(self._client_network())

    def _client_network(self) -> str:
        """The client's address, or its network; '' for a Unix socket, behind which is a proxy."""
        if not self._peer_network and self.family != socket.AF_UNIX:
            try:
                self._peer_network = client_network(self.getpeername()[0])
            except OSError:  # it has disconnected
                self._peer_network = "?"
        return self._peer_network

    def _is_ready(self, event: int, seconds: float = 0) -> bool:
        poll = select.poll()
        poll.register(self, event)
        return bool(poll.poll(seconds * 1000))

    def _send_due_continue(self) -> None:
        if self._continue_is_due:
            self._continue_is_due = False
            super().sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def _missing_bytes(seen: bytes) -> int:
    """How many bytes have to come at least before it is worth looking again; 0 when the request can be given to a
    thread. Runs on the main loop of all connections: it looks at the head only, and in linear time."""
    head, found, body = seen.partition(b"\r\n\r\n")
    if not found:
        return 0 if b"\n\n" in seen or len(seen) >= MAX_BUFFERED_BYTES else 1  # the parser refuses both
    head += b"\r\n"
    lengths = _LENGTH.findall(head)
    if len(lengths) != 1 or _CODING.search(head) or _EXPECTATION.search(head) or len(seen) >= MAX_BUFFERED_BYTES:
        return 0  # no body; chunks, whose end only a parser finds; a client that waits for 100-continue
    length = int(lengths[0])
    return 0 if length > MAX_BUFFERED_BYTES else max(0, length - len(body))
