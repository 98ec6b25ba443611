"""gunicorn's threaded worker with four changes: it stops the application in time, lets event streams take their socket
along, gives no thread to a client that does not get its request out, and closes connections without waiting for them.

A connection waits in the poller until a small request is there as a whole, or the head of a large one; then it gets a
thread. Threads that have to wait for their client are counted (ClientSocket.slots) and come on top of SERVER_THREADS.
"""

from __future__ import annotations

import errno
import logging
import selectors
import signal
import socket
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn import util
from gunicorn.workers.gthread import TConn, ThreadWorker

from app.api.server.context import ApiContext
from app.api.server.socket_handover import HandedOver, announce_close, lift_limits
from app.server.client_socket import ClientSocket, Slots
from app.server.refusals import refusal
from app.services.ops.reload import reload_settings

STREAMS_GRACE_SECONDS = 2.0
WEBHOOK_GRACE_SECONDS = 3.0  # for webhooks under way; what takes longer is sent again by the next process
LINGER_SECONDS = 5.0  # that a client has to take in its last answer, and to notice the end
YOUNG_SECONDS = 1.0  # that a new connection has for its request before it may have to make room for others


class Connection(TConn):
    """gunicorn closes in its main loop and waits for the client to notice; here the poller does."""

    linger: Any = None

    def close(self, graceful: bool = False) -> None:
        if graceful:
            self.linger(self)
        else:
            super().close()


class ServerProcess(ThreadWorker):
    """The process that serves."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lingering: deque[Connection] = deque()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(max_workers=self.cfg.threads + slow_threads(self.cfg.threads))

    def run(self) -> None:
        total = slow_threads(self.cfg.threads)
        is_behind_proxies = self._server.context.settings.trusted_proxies > 0  # these are all clients then
        self._slots = Slots(total, share=total if is_behind_proxies else total // 2)
        super().run()
        self._server.stream_hub.join(timeout=STREAMS_GRACE_SECONDS)
        self.wsgi.extensions["courier"].stop(timeout=WEBHOOK_GRACE_SECONDS)

    def accept(self, listener: Any) -> None:
        """Take a connection, which gets a thread when there is something to read."""
        try:
            accepted, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                return
            raise
        self.nr_conns += 1
        sock = ClientSocket(fileno=accepted.detach())
        sock.slots = self._slots
        conn = Connection(self.cfg, sock, client, listener.getsockname())
        conn.linger = self._linger
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        if client.has_whole_request():
            super().on_pending_socket_readable(conn, client)

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        if client.has_whole_request():
            super().on_client_socket_readable(conn, client)

    def handle_request(self, req: Any, conn: Any) -> Any:
        announce_close.set(req.force_close)
        lift_limits.set(conn.sock.lift_limits)
        req.should_close = partial(_should_close, req, conn.sock, req.should_close)
        if req._expected_100_continue:  # gunicorn would ask for the body of a request that is refused
            req._expected_100_continue = False
            conn.sock.ask_for_body()
        try:
            return super().handle_request(req, conn)
        except HandedOver as wish:
            wish.accept(conn.sock, chunked=req.version >= (1, 1))
            conn.close = _leave_open
            return False  # gunicorn is done with the connection

    def _keepalive_after(self, conn: Any, keepalive: Any) -> bool:
        conn.sock.end_request()
        return bool(super()._keepalive_after(conn, keepalive))

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what never reached the application, or what gunicorn cannot go on with."""
        answer = refusal(exc, addr)
        try:
            client.sendall(answer)
        except OSError:
            logging.getLogger("cyberimage.server").debug("The client did not take its error")

    def murder_pending(self) -> None:
        """Close what has waited too long, and the oldest idle connections when there is no room for new ones."""
        super().murder_pending()
        now = time.monotonic()
        while self._lingering and (not self.alive or self._lingering[0].timeout <= now):
            self._end(self._lingering[0])
        if self.nr_conns >= self.worker_connections:
            young = now + self.cfg.keepalive - YOUNG_SECONDS  # their timeout
            idle = [*self._lingering, *self.keepalived_conns]
            idle += [conn for conn in self.pending_conns if conn.timeout < young]
            for conn in idle[: max(1, self.worker_connections // 8)]:
                self._end(conn)

    def _linger(self, conn: Any) -> None:
        """Close a connection after an answer. While its client still sends, closing would reset it, and could cost the
        client the answer: so what comes is thrown away for a while, by the poller and not by a thread."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            util.close(conn.sock)
            return
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + LINGER_SECONDS
        self.nr_conns += 1  # finish_request has just counted it out
        self._lingering.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._discard, conn))

    def _discard(self, conn: Any, client: Any) -> None:
        try:
            if client.recv(65_536):
                return
        except BlockingIOError:
            return
        except OSError:  # it was reset
            pass
        self._end(conn)

    def _end(self, conn: Any) -> None:
        for waiting in (self._lingering, self.pending_conns, self.keepalived_conns):
            if conn in waiting:
                waiting.remove(conn)
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def handle_exit(self, sig: Any, frame: Any) -> None:
        self._server.draining.set()
        self._server.stream_hub.wake()
        super().handle_exit(sig, frame)

    def init_signals(self) -> None:
        super().init_signals()
        signal.signal(signal.SIGHUP, self._handle_reload)
        signal.siginterrupt(signal.SIGHUP, False)

    def _handle_reload(self, sig: Any, frame: Any) -> None:
        self.method_queue.defer(self._reload)  # on the main loop, not in a signal handler

    def _reload(self) -> None:
        logging.getLogger("cyberimage.server").info("Reading the settings again")
        reload_settings(self._server.context)

    @property
    def _server(self) -> ApiContext:
        found: ApiContext = self.wsgi.extensions["cyberimage"]
        return found


def slow_threads(threads: int) -> int:
    """How many threads may wait for slow clients, beside the `threads` that answer."""
    return max(4, threads // 2)


def _should_close(req: Any, sock: ClientSocket, usual: Any) -> bool:
    """Also when the answer goes out before the whole body has come: the rest is not waited for."""
    if not usual() and _is_incomplete(req.body.reader, sock):
        req.force_close()
    return bool(usual())


def _is_incomplete(reader: Any, sock: ClientSocket) -> bool:
    if hasattr(reader, "parser"):  # chunks
        return reader.parser is not None
    left: int = reader.length
    return left > 0 and left > len(reader.unreader.buf.getvalue()) + sock.available()


def _leave_open(graceful: bool = False) -> None:
    """Closing a connection that was handed over."""
