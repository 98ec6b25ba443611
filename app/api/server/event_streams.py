"""Serves all open event streams from one thread, with a selector.

A request thread writes the head of the response and hands the socket over; from then on the connection costs a file
descriptor and a few hundred bytes. The hub is notified of changed jobs, reads a job once however many clients follow
it, and never waits for a client: a slow one gets the newest state once it has read the last, and one that reads nothing
is disconnected. The hub handles sockets and jobs; the encoding is its listeners' (app/api/native/events.py).
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Protocol

from app.core.job import JobStatus, JobView
from app.errors import CyberImageError, DatabaseUnavailable, Unavailable
from app.process.threads import BackgroundThread
from app.services.context import AppContext
from app.services.jobs.eta import EtaEstimator
from app.services.jobs.notifications import JobNotifier
from app.services.jobs.status import view
from app.store.queue.previews import Preview

POLL_SECONDS = 1.0  # how soon a change is noticed whose notification was lost
HEARTBEAT_SECONDS = 15.0  # proxies cut streams that are silent for longer
STALLED_SECONDS = 60.0  # after which a client that reads nothing is disconnected
ESTIMATOR_SECONDS = 1.0  # an estimator is reused for so long

log = logging.getLogger("cyberimage.api")


class EventEncoder(Protocol):
    """Encodes the events of one listener; remembers what it has encoded."""

    def encode(self, state: JobView, preview: Preview | None) -> Iterable[bytes]:
        """The events for what is new in `state`."""

    def error_event(self, error: CyberImageError) -> bytes:
        """The last event, when the job cannot be followed any more."""

    def keepalive(self) -> bytes:
        """A comment that keeps the connection alive."""


def may_have_preview(state: JobView) -> bool:
    """Whether there may be a preview."""
    return state.job.status is JobStatus.PROCESSING and state.job.progress.step > 0


class StreamListener:
    """One open stream. `chunked`: each message is sent as a chunk of HTTP/1.1. `revocation_check` is called every
    HEARTBEAT_SECONDS; it returns an error once the client has lost access, and waits for nothing but the database."""

    def __init__(
        self, job_id: str, encoder: EventEncoder, revocation_check: Callable[[], CyberImageError | None] = lambda: None
    ) -> None:
        self.job_id = job_id
        self.encoder = encoder
        self.revocation_check = revocation_check
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
        self.unsent.append(b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data)
        self.enqueued_at = time.monotonic()

    def finish(self) -> None:
        if not self.closing and self.chunked:
            self.unsent.append(b"0\r\n\r\n")
        self.closing = True


class EventStreamHub:
    """Serves up to `max_listeners`. The thread starts with the first; `draining` ends all streams and the thread."""

    def __init__(
        self, context: AppContext, notifier: JobNotifier, draining: threading.Event, max_listeners: int
    ) -> None:
        self._context = context
        self._notifier = notifier
        self._draining = draining
        self._max_listeners = max_listeners
        self._reserved = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._new_listeners: deque[StreamListener] = deque()
        self._changed_jobs: deque[str] = deque()
        self._listeners: dict[str, set[StreamListener]] = defaultdict(set)
        self._revisions: dict[str, int] = {}
        self._previews: dict[str, Preview] = {}
        self._closed = False
        self._selector = selectors.DefaultSelector()
        self._wakeup_sender, self._wakeup_receiver = socket.socketpair()
        self._estimator: tuple[float, EtaEstimator] | None = None

    @property
    def open_streams(self) -> int:
        return self._reserved

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
            self._drop(listener)
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
                self._notifier.on_change(self._on_job_change)
                self._thread = BackgroundThread("event-streams", self._serve)
                self._thread.start()

    def _on_job_change(self, job_id: str) -> None:
        if job_id in self._listeners:
            self._changed_jobs.append(job_id)
            self.interrupt_select()

    def _serve(self) -> None:
        next_poll = time.monotonic() + POLL_SECONDS
        while not self._draining.is_set():
            jobs = self._poll_sockets(max(0.0, next_poll - time.monotonic()))
            jobs |= self._register_new()
            while self._changed_jobs:
                jobs.add(self._changed_jobs.popleft())
            if time.monotonic() >= next_poll:
                next_poll = time.monotonic() + POLL_SECONDS
                jobs |= self._changed_without_notice()
                self._check_listeners()
            for job_id in jobs:
                self._publish(job_id)
        with self._lock:
            self._closed = True
        for listener in [*self._all_listeners(), *self._new_listeners]:
            listener.finish()
            self._send(listener)
            self._drop(listener)

    def _all_listeners(self) -> list[StreamListener]:
        return [listener for group in self._listeners.values() for listener in group]

    def _poll_sockets(self, timeout: float) -> set[str]:
        """Wait for sockets and notifications. Returns the jobs of writable clients that have missed changes."""
        jobs = set()
        for key, events in self._selector.select(timeout):
            if key.fileobj is self._wakeup_receiver:
                self._wakeup_receiver.recv(4096)
                continue
            listener: StreamListener = key.data
            if events & selectors.EVENT_READ and self._is_disconnected(listener):
                self._drop(listener)
            elif events & selectors.EVENT_WRITE:
                self._send(listener)
                if listener.has_missed_changes and not listener.unsent:
                    listener.has_missed_changes = False
                    jobs.add(listener.job_id)
        return jobs

    def _is_disconnected(self, listener: StreamListener) -> bool:
        assert listener.sock is not None
        try:
            return not listener.sock.recv(4096)  # what a client sends on such a connection is ignored
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _register_new(self) -> set[str]:
        jobs = set()
        while self._new_listeners:
            listener = self._new_listeners.popleft()
            self._listeners[listener.job_id].add(listener)
            self._selector.register(listener.sock, selectors.EVENT_READ, listener)  # type: ignore[arg-type]
            jobs.add(listener.job_id)
        return jobs

    def _changed_without_notice(self) -> set[str]:
        """The jobs that changed without a notification, or were removed."""
        try:
            now = self._context.jobs.revisions(list(self._listeners))
        except DatabaseUnavailable:  # logged where it happened; the next poll tries again
            return set()
        return {job_id for job_id in self._listeners if now.get(job_id) != self._revisions.get(job_id)}

    def _publish(self, job_id: str) -> None:
        listeners = self._listeners.get(job_id)
        if not listeners:
            return
        try:
            state = view(self._context, job_id, self._current_estimator())
            preview = self._preview(job_id) if may_have_preview(state) else None
        except DatabaseUnavailable:
            return
        except CyberImageError as error:  # removed meanwhile; the status line is sent already
            for listener in list(listeners):
                self._close_with_error(listener, error)
            return
        self._revisions[job_id] = state.job.revision
        for listener in list(listeners):
            self._send_state(listener, state, preview)

    def _close_with_error(self, listener: StreamListener, error: CyberImageError) -> None:
        listener.enqueue(listener.encoder.error_event(error))
        listener.finish()
        self._send(listener)

    def _preview(self, job_id: str) -> Preview | None:
        known = self._previews.get(job_id)
        newer = self._context.previews.get(
            job_id, newer_than=(known.attempt, known.step) if known is not None else (0, 0)
        )
        if newer is not None:
            self._previews[job_id] = newer
        return newer or known

    def _send_state(self, listener: StreamListener, state: JobView, preview: Preview | None) -> None:
        if listener.unsent:
            listener.has_missed_changes = True
            return
        for data in listener.encoder.encode(state, preview):
            listener.enqueue(data)
        if state.job.status.terminal:
            listener.finish()
        self._send(listener)

    def _current_estimator(self) -> EtaEstimator:
        if self._estimator is None or time.monotonic() - self._estimator[0] > ESTIMATOR_SECONDS:
            self._estimator = (time.monotonic(), EtaEstimator(self._context))
        return self._estimator[1]

    def _check_listeners(self) -> None:
        now = time.monotonic()
        for listener in self._all_listeners():
            if now - listener.checked_at >= HEARTBEAT_SECONDS:
                listener.checked_at = now
                if (error := listener.revocation_check()) is not None:
                    self._close_with_error(listener, error)
                    continue
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
        elif listener in self._listeners.get(listener.job_id, ()):
            writing = selectors.EVENT_WRITE if listener.unsent else 0
            self._selector.modify(listener.sock, selectors.EVENT_READ | writing, listener)

    def _drop(self, listener: StreamListener) -> None:
        """Close the connection and forget the listener, once."""
        sock, listener.sock = listener.sock, None
        if sock is None:
            return
        group = self._listeners.get(listener.job_id, set())
        if listener in group:
            self._selector.unregister(sock)
            group.discard(listener)
        if not group:
            self._listeners.pop(listener.job_id, None)
            self._revisions.pop(listener.job_id, None)
            self._previews.pop(listener.job_id, None)
        sock.close()
        self.release()
