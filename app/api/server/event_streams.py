"""Serves all open event streams, and calls that wait for their job, from one thread, with a selector.

A request thread writes the head of the response and hands the socket over; from then on the connection costs a file
descriptor and a few hundred bytes. The hub is notified of changes, reads a job or batch once however many clients
follow it, and never waits for a client: a slow one gets the newest state once it has read the last, and one that reads
nothing is disconnected. The hub handles sockets; what is followed is read in followed.py, and the encoding is its
listeners' (app/api/native/events.py).

A listener may have a last message that takes time to make: the picture itself. It is made elsewhere (last_messages.py)
once the job has ended, the listener's time is over or the server stops.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections import defaultdict, deque

from app.api.server.followed import State, followed_kinds
from app.api.server.last_messages import LastMessages
from app.api.server.stream_listener import StreamListener
from app.errors import CyberImageError, DatabaseUnavailable, Unavailable
from app.process.threads import BackgroundThread
from app.services.context import AppContext
from app.services.jobs.notifications import JobNotifier

POLL_SECONDS = 1.0  # how soon a change is noticed whose notification was lost
HEARTBEAT_SECONDS = 15.0  # proxies cut streams that are silent for longer
STALLED_SECONDS = 60.0  # after which a client that reads nothing is disconnected
STOP_SECONDS = 4.0  # for all clients together to read their last messages while the server stops
CLOSED_SEND_SECONDS = 1.0  # for one that comes after that
PIECE_BYTES = 65_536  # of a long last message

log = logging.getLogger("cyberimage.api")


class EventStreamHub:
    """Serves up to `max_listeners`. The thread starts with the first; `draining` ends all streams and the thread."""

    def __init__(
        self, context: AppContext, notifier: JobNotifier, draining: threading.Event, max_listeners: int
    ) -> None:
        self._kinds = followed_kinds(context)
        self._notifier = notifier
        self._draining = draining
        self._max_listeners = max_listeners
        self._reserved = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._new_listeners: deque[StreamListener] = deque()
        self._changed: deque[str] = deque()  # ids of jobs and batches, which are never the same
        self._listeners: dict[str, set[StreamListener]] = defaultdict(set)
        self._revisions: dict[str, object] = {}
        self._closed = False
        self._selector = selectors.DefaultSelector()
        self._wakeup_sender, self._wakeup_receiver = socket.socketpair()
        self._last_messages: LastMessages[StreamListener] = LastMessages(self.interrupt_select)

    @property
    def open_streams(self) -> int:
        return self._reserved

    def is_followed(self, an_id: str) -> bool:
        """Whether a connection waits for this job or batch."""
        return bool(self._listeners.get(an_id))

    def reserve(self) -> None:
        """Reserve a place for a stream, to be released. Raises Unavailable when all are in use."""
        with self._lock:
            if self._reserved >= self._max_listeners or self._draining.is_set():
                raise Unavailable("Too many event streams are open. Poll the status instead.", retry_after=5)
            self._reserved += 1

    def release_unless_handed_over(self, listener: StreamListener) -> None:
        """The request has ended: release its place, unless its connection is attached or will be."""
        if not listener.handed_over:
            self.release()

    def release(self) -> None:
        with self._lock:
            self._reserved -= 1

    def attach(self, listener: StreamListener, sock: socket.socket, *, chunked: bool) -> None:
        """Serve `listener` over `sock`, which the hub owns from now on, in a place that was reserved."""
        sock.setblocking(False)
        listener.sock, listener.chunked = sock, chunked
        self._start()
        with self._lock:
            is_closed = self._closed
            if not is_closed:
                self._new_listeners.append(listener)
        if is_closed:
            self._end_now(listener)
        self.interrupt_select()

    def interrupt_select(self) -> None:
        """Have the thread run its loop once. Takes no lock, so that a signal handler may call it."""
        try:
            self._wakeup_sender.send(b"\0", socket.MSG_DONTWAIT)
        except OSError:  # full: the thread will run anyway; closed: it has ended
            return

    def join(self, timeout: float) -> None:
        """Wait until all streams have ended, which they do when `draining` is set."""
        self.interrupt_select()
        if self._thread is not None:
            self._thread.join(timeout)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._wakeup_sender.setblocking(False)
                self._wakeup_receiver.setblocking(False)
                self._selector.register(self._wakeup_receiver, selectors.EVENT_READ)
                self._notifier.on_change(self._on_change)
                self._thread = BackgroundThread("event-streams", self._serve)
                self._thread.start()

    def _on_change(self, an_id: str) -> None:
        if an_id in self._listeners:
            self._changed.append(an_id)
            self.interrupt_select()

    def _serve(self) -> None:
        next_poll = time.monotonic() + POLL_SECONDS
        while not self._draining.is_set():
            changed = self._poll_sockets(max(0.0, next_poll - time.monotonic()))
            changed |= self._register_new()
            while self._changed:
                changed.add(self._changed.popleft())
            if time.monotonic() >= next_poll:
                next_poll = time.monotonic() + POLL_SECONDS
                changed |= self._changed_without_notice()
                self._check_listeners()
            for an_id in changed:
                self._publish(an_id)
            self._send_last_messages()
        with self._lock:
            self._closed = True
        self._end_all()

    def _end_all(self) -> None:
        """The server stops: last messages say how things are. All are sent at once, so that a client that reads nothing
        holds up no other, and for a moment only."""
        self._register_new()
        for listener in self._all_listeners():
            self._end(listener)
            self._send(listener)
        deadline = time.monotonic() + STOP_SECONDS
        while self._listeners and (left := deadline - time.monotonic()) > 0:
            self._poll_sockets(min(left, POLL_SECONDS))
            self._send_last_messages()
        self._last_messages.close()
        for listener in self._all_listeners():
            self._drop(listener)

    def _all_listeners(self) -> list[StreamListener]:
        return [listener for group in self._listeners.values() for listener in group]

    def _poll_sockets(self, timeout: float) -> set[str]:
        """Wait for sockets and notifications. Returns what writable clients follow that have missed changes."""
        behind = set()
        for key, events in self._selector.select(timeout):
            if key.fileobj is self._wakeup_receiver:
                self._wakeup_receiver.recv(4096)
                continue
            listener: StreamListener = key.data
            if events & selectors.EVENT_READ and self._is_disconnected(listener):
                self._drop(listener)
                self._notice_disconnect(listener)
            elif events & selectors.EVENT_WRITE:
                self._send(listener)
                if listener.has_missed_changes and not listener.unsent:
                    listener.has_missed_changes = False
                    behind.add(listener.followed_id)
        return behind

    def _is_disconnected(self, listener: StreamListener) -> bool:
        assert listener.sock is not None
        try:
            return not listener.sock.recv(4096)  # what a client sends on such a connection is ignored
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _register_new(self) -> set[str]:
        new = set()
        while self._new_listeners:
            listener = self._new_listeners.popleft()
            self._listeners[listener.followed_id].add(listener)
            self._selector.register(listener.sock, selectors.EVENT_READ, listener)  # type: ignore[arg-type]
            new.add(listener.followed_id)
        return new

    def _changed_without_notice(self) -> set[str]:
        """The ids of what changed without a notification, or was removed."""
        now: dict[str, object] = {}
        try:
            for kind, followed in self._kinds.items():
                if ids := [an_id for an_id, group in self._listeners.items() if next(iter(group)).kind == kind]:
                    now.update(followed.revisions(ids))
        except DatabaseUnavailable:  # logged where it happened; the next poll tries again
            return set()
        return {an_id for an_id in self._listeners if now.get(an_id) != self._revisions.get(an_id)}

    def _publish(self, an_id: str) -> None:
        listeners = self._listeners.get(an_id)
        if not listeners:
            return
        try:
            state = self._kinds[next(iter(listeners)).kind].read(an_id)
        except DatabaseUnavailable:
            return
        except CyberImageError as error:  # removed meanwhile; the status line is sent already
            for listener in list(listeners):
                self._close_with_error(listener, error)
            return
        self._revisions[an_id] = state.revision
        for listener in list(listeners):
            self._send_state(listener, state)

    def _close_with_error(self, listener: StreamListener, error: CyberImageError) -> None:
        if listener.last_message is not None:
            self._end(listener, error)
            return
        listener.enqueue(listener.encoder.error_event(error))
        listener.finish()
        self._send(listener)

    def _send_state(self, listener: StreamListener, state: State) -> None:
        if listener.unsent or listener.closing or listener.is_ending:
            listener.has_missed_changes = bool(listener.unsent)
            return
        for data in listener.encoder.encode(state.view, state.preview):
            listener.enqueue(data)
        if state.is_last:
            self._end(listener)
        self._send(listener)

    def _end(self, listener: StreamListener, error: CyberImageError | None = None) -> None:
        """End the stream, with its last message if it has one."""
        if listener.last_message is None:
            listener.finish()
        elif not listener.is_ending:
            listener.is_ending = True
            self._last_messages.make(listener, listener.client, listener.last_message, error)

    def _send_last_messages(self) -> None:
        finished = self._last_messages.finished
        while finished:
            listener, message, held = finished.popleft()
            listener.held_bytes = held
            if listener.sock is None:  # it has left
                self._release_message(listener)
                continue
            self._enqueue_last(listener, message or b"")
            self._send(listener)

    def _enqueue_last(self, listener: StreamListener, message: bytes) -> None:
        for start in range(0, len(message), PIECE_BYTES):
            listener.enqueue(message[start : start + PIECE_BYTES])
        listener.finish()

    def _end_now(self, listener: StreamListener) -> None:
        """It came when all others had ended: in its own thread."""
        assert listener.sock is not None
        self._enqueue_last(listener, b"" if listener.last_message is None else listener.last_message(None))
        with contextlib.suppress(OSError):
            listener.sock.settimeout(CLOSED_SEND_SECONDS)
            listener.sock.sendall(b"".join(listener.unsent))
        self._drop(listener)

    def _notice_disconnect(self, listener: StreamListener) -> None:
        if listener.on_disconnect is not None and not listener.closing and not listener.is_ending:
            self._last_messages.run(listener.on_disconnect)

    def _release_message(self, listener: StreamListener) -> None:
        held, listener.held_bytes = listener.held_bytes, 0
        self._last_messages.release(listener.client, held)

    def _check_listeners(self) -> None:
        now = time.monotonic()
        self._last_messages.expire()
        for listener in self._all_listeners():
            if now - listener.checked_at >= HEARTBEAT_SECONDS:
                listener.checked_at = now
                if (error := listener.revocation_check()) is not None:
                    self._close_with_error(listener, error)
                    continue
            if now >= listener.deadline and not listener.closing:
                self._end(listener)
            if listener.unsent:
                if now - listener.sent_at > STALLED_SECONDS:
                    self._drop(listener)
            elif now - listener.enqueued_at >= HEARTBEAT_SECONDS:
                listener.enqueue(listener.encoder.keepalive())
                self._send(listener)

    def _send(self, listener: StreamListener) -> None:
        """As much as the socket accepts without waiting; the rest when it is writable again."""
        assert listener.sock is not None
        try:
            while listener.unsent:
                data = listener.unsent[0]
                sent = listener.sock.send(data)
                listener.sent_at = time.monotonic()
                if sent < len(data):
                    listener.unsent[0] = data[sent:]
                else:
                    listener.unsent.popleft()
        except BlockingIOError:
            pass
        except OSError:  # the client has disconnected
            self._drop(listener)
            return
        if listener.closing and not listener.unsent:
            self._drop(listener)
        elif listener in self._listeners.get(listener.followed_id, ()):
            writing = selectors.EVENT_WRITE if listener.unsent else 0
            self._selector.modify(listener.sock, selectors.EVENT_READ | writing, listener)

    def _drop(self, listener: StreamListener) -> None:
        """Close the connection and forget the listener, once."""
        sock, listener.sock = listener.sock, None
        if sock is None:
            return
        group = self._listeners.get(listener.followed_id, set())
        if listener in group:
            self._selector.unregister(sock)
            group.discard(listener)
        if not group:
            self._listeners.pop(listener.followed_id, None)
            self._revisions.pop(listener.followed_id, None)
            self._kinds[listener.kind].forget(listener.followed_id)
        sock.close()
        self._release_message(listener)
        self.release()
