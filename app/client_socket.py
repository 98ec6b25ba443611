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

COLLECTED_BYTES = 32_768  # of a request, head and body: up to this it is collected whole before a thread is given
BODY_PATIENCE_SECONDS = 15.0  # for a body, and on top the time that it takes at the slowest rate
SLOWEST_RATE = 20_000  # bytes a second
ANSWER_PATIENCE_SECONDS = 60.0  # until a client takes the next piece of an answer
_LENGTH = re.compile(rb"\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r?\n", re.IGNORECASE)
_CODING = re.compile(rb"\ntransfer-encoding:", re.IGNORECASE)
_EXPECTATION = re.compile(rb"\nexpect:", re.IGNORECASE)
_LAST_CHUNK = re.compile(rb"(?:^|\r\n)0+[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n")


class ClientSocket(socket.socket):
    """`setblocking(True)` begins a request; from then on reading and writing are limited, until `lift_limits`.

    `slots` are the threads that may wait for slow clients, of all connections together. A client that needs one when
    none is left is disconnected.
    """

    slots = threading.BoundedSemaphore(1)
    _began = 0.0
    _received = 0
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
        whole = not seen or self.family == socket.AF_UNIX or _is_whole(seen) or self._has_no_more()
        if not whole or self._waits_for_more:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1 if whole else len(seen) + 1)
            self._waits_for_more = not whole
        return whole

    def _has_no_more(self) -> bool:
        """Whether the client has closed its side. Such a socket is readable for ever, whatever SO_RCVLOWAT says."""
        return self._is_ready(getattr(select, "POLLRDHUP", 0))  # Linux; elsewhere it is waited for

    def setblocking(self, flag: bool, /) -> None:
        self._limited, self._may_wait, self._owes_continue = flag, True, False
        if flag:
            self._began, self._received = time.monotonic(), 0
            self.settimeout(ANSWER_PATIENCE_SECONDS)
        else:
            super().setblocking(False)

    def lift_limits(self) -> None:
        """The connection became a WebSocket, which may be silent."""
        self._limited = False
        self.settimeout(None)

    def ask_for_body(self) -> None:
        """Send `100 Continue` as soon as somebody waits for the body."""
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
            self._wait(select.POLLOUT, ANSWER_PATIENCE_SECONDS)
            rest = rest[super().send(rest, flags) :]
        super().sendall(rest, flags)

    def _wait(self, event: int, seconds: float) -> None:
        """Until the socket is ready for `event`. Raises ConnectionResetError when it takes too long, or when too many
        others are waited for; TimeoutError once the request has ended."""
        if self._is_ready(event):
            return
        if event == select.POLLIN:
            if not self._may_wait:
                raise TimeoutError("the request has ended")
            self._continue()
        if not self.slots.acquire(blocking=False):
            raise ConnectionResetError(errno.ECONNRESET, "too many slow clients")
        try:
            if not self._is_ready(event, max(seconds, 0)):
                raise ConnectionResetError(errno.ECONNRESET, "the client was too slow")
        finally:
            self.slots.release()

    def _is_ready(self, event: int, seconds: float = 0) -> bool:
        poll = select.poll()
        poll.register(self, event)
        return bool(poll.poll(seconds * 1000))

    def _continue(self) -> None:
        if self._owes_continue:
            self._owes_continue = False
            super().sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def _is_whole(seen: bytes) -> bool:
    head, found, body = seen.partition(b"\r\n\r\n")
    if not found:
        return b"\n\n" in seen or len(seen) >= COLLECTED_BYTES  # neither is served: let it be refused
    head += b"\r\n"
    lengths, is_chunked = _LENGTH.findall(head), bool(_CODING.search(head))
    if _EXPECTATION.search(head) or len(seen) >= COLLECTED_BYTES or len(lengths) + is_chunked > 1:
        return True
    if is_chunked:
        return bool(_LAST_CHUNK.search(body))
    length = int(lengths[0]) if lengths else 0
    return len(body) >= length or length > COLLECTED_BYTES
