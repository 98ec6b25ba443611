"""Event stream hub: one thread serves all open server-sent event streams.

A request thread writes the head of the response and hands the socket over; from then on the connection costs a file
descriptor and a few hundred bytes. The hub subscribes to notifications, reads a job once however many clients follow
it, and never waits for a client: one that reads slowly gets the newest state when there is room again, and one that
does not read at all is dropped. It knows sockets and jobs; the encoding is app/api/native/events.py's.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Protocol

from app.core.job import JobStatus
from app.errors import CyberImageError, DatabaseUnavailable, Unavailable
from app.services.context import AppContext
from app.services.jobs.eta import EtaEstimator
from app.services.jobs.notifications import JobNotifier
from app.services.jobs.status import JobView, view
from app.store.queue.previews import Preview

POLL_SECONDS = 1.0  # how soon a change is seen whose ring was lost, and that the server stops
HEARTBEAT_SECONDS = 15.0  # proxies cut streams that are silent for longer
STALLED_SECONDS = 60.0  # without reading a byte of what was sent
ESTIMATE_SECONDS = 1.0  # an estimate may be this old
EXIT_BROKEN = 72

log = logging.getLogger("cyberimage.api")


class EventEncoder(Protocol):
    """What one listener is told; it remembers what it said."""

    def tell(self, state: JobView, preview: Preview | None) -> Iterable[bytes]:
        """The news in `state`, nothing when it is none."""

    def error_event(self, error: CyberImageError) -> bytes:
        """The last words when the job cannot be followed any more."""

    def keepalive(self) -> bytes:
        """Words that keep the connection alive and mean nothing."""


def is_being_drawn(state: JobView) -> bool:
    """Whether there may be a preview."""
    return state.job.status is JobStatus.PROCESSING and state.job.progress.step > 0


class StreamListener:
    """One open stream. `chunked`: each message goes out as a chunk of HTTP/1.1. `objection` is asked now and then, and
    says why the client may hear no more; it must not wait for anything but the database."""

    def __init__(
        self, job_id: str, encoder: EventEncoder, objection: Callable[[], CyberImageError | None] = lambda: None
    ) -> None:
        self.job_id = job_id
        self.encoder = encoder
        self.objection = objection
        self.chunked = False
        self.sock: socket.socket | None = None
        self.unsent: deque[bytes] = deque()
        self.behind = False  # there was news while the last was not sent yet
        self.ending = False
        self.promised = False
        self.spoke_at = time.monotonic()
        self.moved_at = self.asked_at = self.spoke_at

    def promise(self) -> None:
        """Its connection will come to the desk, whatever happens to the request."""
        self.promised = True

    def say(self, words: bytes) -> None:
        self.unsent.append(b"%X\r\n%b\r\n" % (len(words), words) if self.chunked else words)
        self.spoke_at = time.monotonic()

    def end(self) -> None:
        if not self.ending and self.chunked:
            self.unsent.append(b"0\r\n\r\n")
        self.ending = True


class EventStreamHub:
    """`most` listeners at a time. The thread starts with the first; `draining` ends all streams and the thread."""

    def __init__(self, context: AppContext, notifier: JobNotifier, draining: threading.Event, most: int) -> None:
        self._context = context
        self._notifier = notifier
        self._draining = draining
        self._most = most
        self._reserved = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._arrivals: deque[StreamListener] = deque()
        self._rung: deque[str] = deque()
        self._listeners: dict[str, set[StreamListener]] = defaultdict(set)
        self._revisions: dict[str, int] = {}
        self._pictures: dict[str, Preview] = {}
        self._closed = False
        self._selector = selectors.DefaultSelector()
        self._waker, self._sleeper = socket.socketpair()
        self._estimator: tuple[float, EtaEstimator] | None = None

    @property
    def open_streams(self) -> int:
        return self._reserved

    def reserve(self) -> None:
        """Keep a place for a stream. Raises Unavailable when all are taken; `leave` gives it back."""
        with self._lock:
            if self._reserved >= self._most or self._draining.is_set():
                raise Unavailable("Too many event streams are open. Poll the status instead.", retry_after=5)
            self._reserved += 1

    def abandon(self, listener: StreamListener) -> None:
        """The answer is over: unless its connection was promised to the desk, the client is gone."""
        if not listener.promised:
            self.leave()

    def leave(self) -> None:
        with self._lock:
            self._reserved -= 1

    def take(self, listener: StreamListener, sock: socket.socket, *, chunked: bool) -> None:
        """Serve `listener` over `sock`, which is the desk's from now on, in a place that was reserved."""
        sock.setblocking(False)
        listener.sock, listener.chunked = sock, chunked
        self._start()
        with self._lock:
            too_late = self._closed
            if not too_late:
                self._arrivals.append(listener)
        if too_late:
            self._drop(listener)
        self.wake()

    def wake(self) -> None:
        """Have the desk look up. Takes no lock, so that a signal handler may call it."""
        try:
            self._waker.send(b"\0", socket.MSG_DONTWAIT)
        except OSError:  # full: it will look up anyway; closed: it is gone
            return

    def join(self, timeout: float) -> None:
        """Wait until all streams have ended, which they do when `draining` is set."""
        self.wake()
        if self._thread is not None:
            self._thread.join(timeout)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._waker.setblocking(False)
                self._sleeper.setblocking(False)
                self._selector.register(self._sleeper, selectors.EVENT_READ)
                self._notifier.on_change(self._hear)
                self._thread = threading.Thread(target=self._run, name="streams", daemon=True)
                self._thread.start()

    def _hear(self, job_id: str) -> None:
        if job_id in self._listeners:
            self._rung.append(job_id)
            self.wake()

    def _run(self) -> None:
        broken = True
        try:
            self._serve()
            broken = False
        finally:  # not `except`: whatever it was, it is not handled here
            if broken:
                log.critical("The desk of the event streams broke; a fresh process takes over", exc_info=True)
                logging.shutdown()
                os._exit(EXIT_BROKEN)

    def _serve(self) -> None:
        next_poll = time.monotonic() + POLL_SECONDS
        while not self._draining.is_set():
            due = self._look_up(max(0.0, next_poll - time.monotonic()))
            due |= self._welcome()
            while self._rung:
                due.add(self._rung.popleft())
            if time.monotonic() >= next_poll:
                next_poll = time.monotonic() + POLL_SECONDS
                due |= self._moved()
                self._break_silences()
            for job_id in due:
                self._bring_news(job_id)
        with self._lock:
            self._closed = True
        for listener in [*self._all_listeners(), *self._arrivals]:
            listener.end()
            self._send(listener)
            self._drop(listener)

    def _all_listeners(self) -> list[StreamListener]:
        return [listener for group in self._listeners.values() for listener in group]

    def _look_up(self, timeout: float) -> set[str]:
        """Wait for sockets and rings. Gives the jobs of clients that are ready for news they had no room for."""
        due = set()
        for key, events in self._selector.select(timeout):
            if key.fileobj is self._sleeper:
                self._sleeper.recv(4096)
                continue
            listener: StreamListener = key.data
            if events & selectors.EVENT_READ and self._has_hung_up(listener):
                self._drop(listener)
            elif events & selectors.EVENT_WRITE:
                self._send(listener)
                if listener.behind and not listener.unsent:
                    listener.behind = False
                    due.add(listener.job_id)
        return due

    def _has_hung_up(self, listener: StreamListener) -> bool:
        assert listener.sock is not None
        try:
            return not listener.sock.recv(4096)  # what a client says on such a connection is nothing to us
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _welcome(self) -> set[str]:
        due = set()
        while self._arrivals:
            listener = self._arrivals.popleft()
            self._listeners[listener.job_id].add(listener)
            self._selector.register(listener.sock, selectors.EVENT_READ, listener)  # type: ignore[arg-type]
            due.add(listener.job_id)
        return due

    def _moved(self) -> set[str]:
        """The jobs that changed without a notification, or that are gone."""
        try:
            now = self._context.jobs.revisions(list(self._listeners))
        except DatabaseUnavailable:  # logged where it happened; the next poll will see
            return set()
        return {job_id for job_id in self._listeners if now.get(job_id) != self._revisions.get(job_id)}

    def _bring_news(self, job_id: str) -> None:
        listeners = self._listeners.get(job_id)
        if not listeners:
            return
        try:
            state = view(self._context, job_id, self._now())
            preview = self._preview(job_id) if is_being_drawn(state) else None
        except DatabaseUnavailable:
            return
        except CyberImageError as error:  # removed meanwhile; it is too late for a problem document
            for listener in list(listeners):
                self._show_out(listener, error)
            return
        self._revisions[job_id] = state.job.revision
        for listener in list(listeners):
            self._tell(listener, state, preview)

    def _show_out(self, listener: StreamListener, error: CyberImageError) -> None:
        listener.say(listener.encoder.error_event(error))
        listener.end()
        self._send(listener)

    def _preview(self, job_id: str) -> Preview | None:
        known = self._pictures.get(job_id)
        newer = self._context.previews.get(
            job_id, newer_than=(known.attempt, known.step) if known is not None else (0, 0)
        )
        if newer is not None:
            self._pictures[job_id] = newer
        return newer or known

    def _tell(self, listener: StreamListener, state: JobView, preview: Preview | None) -> None:
        if listener.unsent:
            listener.behind = True
            return
        for words in listener.encoder.tell(state, preview):
            listener.say(words)
        if state.job.status.terminal:
            listener.end()
        self._send(listener)

    def _now(self) -> EtaEstimator:
        if self._estimator is None or time.monotonic() - self._estimator[0] > ESTIMATE_SECONDS:
            self._estimator = (time.monotonic(), EtaEstimator(self._context))
        return self._estimator[1]

    def _break_silences(self) -> None:
        now = time.monotonic()
        for listener in self._all_listeners():
            if now - listener.asked_at >= HEARTBEAT_SECONDS:
                listener.asked_at = now
                if (error := listener.objection()) is not None:
                    self._show_out(listener, error)
                    continue
            if listener.unsent:
                if now - listener.moved_at > STALLED_SECONDS:
                    self._drop(listener)
            elif now - listener.spoke_at >= HEARTBEAT_SECONDS:
                listener.say(listener.encoder.keepalive())
                self._send(listener)

    def _send(self, listener: StreamListener) -> None:
        """As much as the client takes without a wait; the rest when it takes more."""
        assert listener.sock is not None
        try:
            while listener.unsent:
                words = listener.unsent[0]
                sent = listener.sock.send(words)
                listener.moved_at = time.monotonic()
                if sent < len(words):
                    listener.unsent[0] = words[sent:]
                else:
                    listener.unsent.popleft()
        except BlockingIOError:
            pass
        except OSError:  # it hung up
            self._drop(listener)
            return
        if listener.ending and not listener.unsent:
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
            self._pictures.pop(listener.job_id, None)
        sock.close()
        self.leave()
