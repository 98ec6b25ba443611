"""One connection that the event stream hub serves, and what encodes its events."""

from __future__ import annotations

import math
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from app.api.server.followed import Kind
from app.api.server.last_messages import LastMessage
from app.errors import CyberImageError
from app.store.queue.previews import Preview


class EventEncoder(Protocol):
    """Encodes the events of one listener; remembers what it has encoded."""

    def encode(self, state: Any, preview: Preview | None) -> Iterable[bytes]:
        """The events for what is new in `state`, a JobView or BatchView."""

    def error_event(self, error: CyberImageError) -> bytes:
        """The last event, when the job or batch cannot be followed any more."""

    def keepalive(self) -> bytes:
        """A comment that keeps the connection alive."""


class StreamListener:
    """One open stream, of the job or batch `followed_id`. `chunked`: each message is sent as a chunk of HTTP/1.1.
    `revocation_check` is called every HEARTBEAT_SECONDS; it returns an error once the client has lost access, and waits
    for nothing but the database.

    `last_message` is sent when that has ended, after `seconds`, or when the server stops, and ends the stream;
    without one it just ends. It is made when it is the turn of `client`. `on_disconnect` is called, in another thread,
    if the client leaves before that."""

    def __init__(
        self,
        followed_id: str,
        encoder: EventEncoder,
        revocation_check: Callable[[], CyberImageError | None] = lambda: None,
        *,
        kind: Kind = "job",
        client: str = "",
        last_message: LastMessage | None = None,
        seconds: float = math.inf,
        on_disconnect: Callable[[], None] | None = None,
    ) -> None:
        self.followed_id = followed_id
        self.kind = kind
        self.encoder = encoder
        self.revocation_check = revocation_check
        self.client = client
        self.last_message = last_message
        self.deadline = time.monotonic() + seconds
        self.on_disconnect = on_disconnect
        self.is_ending = False  # its last message is being made
        self.held_bytes = 0  # of the last message, of the bound on all of them
        self.chunked = False
        self.sock: socket.socket | None = None
        self.unsent: deque[bytes] = deque()
        self.has_missed_changes = False  # a change was skipped because the last message is unsent
        self.closing = False
        self.handed_over = False
        self.enqueued_at = time.monotonic()
        self.sent_at = self.checked_at = self.enqueued_at

    def mark_handed_over(self) -> None:
        """The connection will be attached to the hub, whatever happens to the request."""
        self.handed_over = True

    def enqueue(self, data: bytes) -> None:
        if data:
            self.unsent.append(b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data)
        self.enqueued_at = time.monotonic()

    def finish(self) -> None:
        if not self.closing and self.chunked:
            self.unsent.append(b"0\r\n\r\n")
        self.closing = True
