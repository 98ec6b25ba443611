"""All uses of gunicorn's undocumented interfaces, behind classes with hooks. No other module of ours touches them.

`INTERNALS` names each one and why it is needed; tests/server/test_gunicorn_internals.py checks all of them against the
installed gunicorn. Before a version is added to TESTED_VERSIONS, run those tests and tests/hostile with it.

The worker differs from gthread's in four ways: it gives a connection a thread only once its request is ready, closes
connections without blocking the main loop, lets event streams keep their socket, and reloads without a restart.
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

import gunicorn
from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.http import errors as http_errors
from gunicorn.workers.gthread import TConn, ThreadWorker

from app.api.server.socket_handover import HandedOver, announce_close, disable_timeouts
from app.errors import ConfigurationError
from app.server.client_socket import ClientSocket

__all__ = [
    "INTERNALS",
    "TESTED_VERSIONS",
    "Connection",
    "InPlaceReloadArbiter",
    "PollingWorker",
    "StandardLogger",
    "check_version",
    "http_errors",
]

TESTED_VERSIONS = ("27.0.1",)
LINGER_SECONDS = 5.0  # for a client to read its last response and to close
STOP_SECONDS = 2.0  # for a first request to come, once the server stops; as gunicorn for kept-alive connections
FIRST_REQUEST_SECONDS = 15.0  # for the first request of a connection to come
NEW_CONNECTION_SECONDS = 1.0  # during which a connection without a request is not closed to make room for others

_WORKER = "gunicorn.workers.gthread:ThreadWorker"
_CONNECTION = "gunicorn.workers.gthread:TConn"
_REQUEST = "gunicorn.http.message:Request"

INTERNALS = {
    f"{_WORKER}.get_thread_pool": "more threads than `threads`: those that wait for slow clients come on top",
    f"{_WORKER}.run": "the main loop, around which the application starts and stops",
    f"{_WORKER}.wsgi": "the application, once it is loaded",
    f"{_WORKER}.cfg": "the settings: threads",
    f"{_WORKER}.accept": "replaced: it would give a new connection a thread at once",
    f"{_WORKER}.on_pending_socket_readable": "called once the first request of a connection is ready, not earlier",
    f"{_WORKER}.on_client_socket_readable": "the same for later requests of a connection",
    f"{_WORKER}.handle_request": "wrapped: deferred 100-continue, closing after an unread body, handed over sockets",
    f"{_WORKER}._keepalive_after": "the end of a request, after which its unread body is not waited for",
    f"{_WORKER}.handle_error": "replaced: refusals are problem documents",
    f"{_WORKER}.murder_pending": "called once per turn of the main loop: time-outs of lingering connections",
    f"{_WORKER}.handle_exit": "SIGTERM: event streams end too",
    f"{_WORKER}.handle_usr1": "SIGUSR1: a stop is announced",
    f"{_WORKER}.init_signals": "SIGHUP gets a handler",
    f"{_WORKER}.alive": "false while the worker stops",
    f"{_WORKER}.poller": "the selector of the main loop; its data are callbacks that take the socket",
    f"{_WORKER}.pending_conns": "accepted connections without a request, oldest first",
    f"{_WORKER}.keepalived_conns": "connections between two requests, oldest first",
    f"{_WORKER}.nr_conns": "the number of open connections; finish_request subtracts one before it closes",
    f"{_WORKER}.worker_connections": "the number at which it stops accepting",
    f"{_WORKER}.method_queue": "its `defer` runs a function on the main loop",
    f"{_CONNECTION}.sock": "the connection's socket, used as it is: ClientSocket stays one",
    f"{_CONNECTION}.close": "`graceful` blocks the main loop for up to two seconds",
    f"{_CONNECTION}.timeout": "when an idle connection is closed, by time.monotonic()",
    f"{_REQUEST}.force_close": "makes the response say `Connection: close`",
    f"{_REQUEST}.should_close": "asked when the response's headers are written, and after it",
    f"{_REQUEST}._expected_100_continue": "true when the client waits for 100-continue, which gunicorn sends at once",
    f"{_REQUEST}.version": "decides whether an event stream is sent in chunks",
    f"{_REQUEST}.body": "how much of the body is unread: `reader`, of one of the next two classes",
    "gunicorn.http.body:ChunkedReader.parser": "None once the last chunk was read",
    "gunicorn.http.body:LengthReader.length": "how many bytes are left to read",
    "gunicorn.http.body:LengthReader.unreader": "its `buf` holds bytes that were read from the socket ahead of use",
    "gunicorn.util:close": "closes a socket, ignoring errors",
    "gunicorn.arbiter:Arbiter.handle_hup": "replaced: it would start a new process, and end every event stream",
    "gunicorn.arbiter:Arbiter.handle_usr1": "replaced: it would open log files again",
    "gunicorn.arbiter:Arbiter.kill_workers": "sends a signal to the worker",
    "gunicorn.glogging:Logger.setup": "replaced: messages go to our handlers",
    "gunicorn.glogging:Logger._access_log_enabled": "set by `setup`, read for each request",
    "gunicorn.http.errors:ParseException": "what refusals.py and api/http/problems.py answer with a problem document",
}


def check_version() -> None:
    """Raises ConfigurationError when the installed gunicorn was not tested with this module."""
    if gunicorn.__version__ not in TESTED_VERSIONS:
        raise ConfigurationError(
            [
                f"gunicorn {gunicorn.__version__} is installed, but the server is tested only with"
                f" {', '.join(TESTED_VERSIONS)}. Install the version that requirements.txt names."
            ]
        )


class StandardLogger(Logger):
    """Sends gunicorn's messages to our loggers, and opens no log file."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log = logging.getLogger("cyberimage.server")
        self.access_log = logging.getLogger("cyberimage.access")

    def info(self, msg: str, *args: Any, **kwargs: Any) -> None:
        self.error_log.debug(msg, *args, **kwargs)  # such as "Booting worker with pid"

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Off."""


class InPlaceReloadArbiter(Arbiter):
    """Passes SIGHUP and SIGUSR1 on to the worker. gunicorn's own reload starts a new one, which would end every event
    stream; its SIGUSR1 opens log files again, of which there are none."""

    def handle_hup(self) -> None:
        self.kill_workers(signal.SIGHUP)

    def handle_usr1(self) -> None:
        self.kill_workers(signal.SIGUSR1)


class Connection(TConn):
    """A connection that closes without blocking, or not at all once its socket was handed over."""

    worker: Any = None
    handed_over = False

    def close(self, graceful: bool = False) -> None:
        if self.handed_over:
            return
        if graceful:
            self.worker.close_lingering(self)
        else:
            super().close()


class PollingWorker(ThreadWorker):
    """gthread's worker, changed as above. A subclass overrides the hooks, and uses nothing of gunicorn's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lingering: deque[Connection] = deque()
        self._is_stopping = False

    # The hooks

    def thread_count(self) -> int:
        """The size of the thread pool."""
        raise NotImplementedError

    def wrap_socket(self, accepted: socket.socket) -> ClientSocket:
        """The socket of a new connection."""
        raise NotImplementedError

    def refusal(self, error: Exception, address: Any) -> bytes:
        """The whole response to a request that failed in gunicorn, after which the connection is closed."""
        raise NotImplementedError

    def before_serving(self) -> None:
        """Called once the application is loaded."""

    def after_serving(self) -> None:
        """Called when no request is under way any more, or the grace period is over."""

    def on_announced_stop(self) -> None:
        """SIGUSR1 came: SIGTERM is near. Called in a signal handler."""

    def on_terminate(self) -> None:
        """SIGTERM came. Called in a signal handler."""

    def on_reload(self) -> None:
        """SIGHUP came. Called on the main loop."""

    # What subclasses may use

    @property
    def application(self) -> Any:
        return self.wsgi

    @property
    def request_threads(self) -> int:
        return int(self.cfg.threads)

    # Overrides of gunicorn's methods

    def get_thread_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(max_workers=self.thread_count())

    def run(self) -> None:
        self.before_serving()
        super().run()
        self.after_serving()

    def accept(self, listener: Any) -> None:
        """Accept a connection, and poll it: it gets a thread when its request is ready."""
        try:
            accepted, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                return
            raise
        self.nr_conns += 1
        sock = self.wrap_socket(accepted)
        conn = Connection(self.cfg, sock, client, listener.getsockname())
        conn.worker = self
        conn.timeout = time.monotonic() + FIRST_REQUEST_SECONDS  # the keepalive setting is for clients that were let in
        self.pending_conns.append(conn)
        self.poller.register(sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        if client.is_request_ready():
            super().on_pending_socket_readable(conn, client)

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        if client.is_request_ready():
            super().on_client_socket_readable(conn, client)

    def handle_request(self, req: Any, conn: Any) -> Any:
        announce_close.set(req.force_close)
        disable_timeouts.set(conn.sock.disable_timeouts)
        req.should_close = partial(_should_close, req, conn.sock, req.should_close)
        if req._expected_100_continue:  # gunicorn would request the body before the request is authorized
            req._expected_100_continue = False
            conn.sock.send_continue_before_body()
        try:
            return super().handle_request(req, conn)
        except HandedOver as handover:
            handover.accept(conn.sock, chunked=req.version >= (1, 1))
            conn.handed_over = True
            return False  # finish_request then counts the connection out, and closes it: see Connection.close

    def _keepalive_after(self, conn: Any, keepalive: Any) -> bool:
        conn.sock.end_request()
        return bool(super()._keepalive_after(conn, keepalive))

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Send the response to a request that the application has not seen, or that gunicorn cannot go on with."""
        response = self.refusal(exc, addr)
        try:
            client.sendall(response)
        except OSError:
            logging.getLogger("cyberimage.server").debug("The client did not read its error response")

    def murder_pending(self) -> None:
        """Close connections that waited too long, and the oldest idle ones when there is no room for new ones."""
        now = time.monotonic()
        if not self.alive and not self._is_stopping:
            self._is_stopping = True
            self._limit_pending(now + STOP_SECONDS)
        super().murder_pending()
        while self._lingering and (not self.alive or self._lingering[0].timeout <= now):
            self._close_idle(self._lingering[0])
        if self.nr_conns >= self.worker_connections:
            timeout_of_new = now + FIRST_REQUEST_SECONDS - NEW_CONNECTION_SECONDS
            idle = [*self._lingering, *self.keepalived_conns]
            idle += [conn for conn in self.pending_conns if conn.timeout < timeout_of_new]
            for conn in idle[: max(1, self.worker_connections // 8)]:
                self._close_idle(conn)

    def handle_usr1(self, sig: Any, frame: Any) -> None:
        self.on_announced_stop()

    def handle_exit(self, sig: Any, frame: Any) -> None:
        self.on_terminate()
        super().handle_exit(sig, frame)

    def init_signals(self) -> None:
        super().init_signals()
        signal.signal(signal.SIGHUP, self._handle_reload)
        signal.siginterrupt(signal.SIGHUP, False)

    # Our own parts, made of gunicorn's

    def _limit_pending(self, latest: float) -> None:
        """Wait no longer than until `latest` for the first requests of connections; their order stays that of age."""
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, latest)

    def _handle_reload(self, sig: Any, frame: Any) -> None:
        self.method_queue.defer(self.on_reload)

    def close_lingering(self, conn: Any) -> None:
        """Close a connection after a response. Closing it while its client still sends would reset it, and the client
        could lose the response: so the main loop discards what comes for a while."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            util.close(conn.sock)
            return
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + LINGER_SECONDS
        self.nr_conns += 1  # finish_request has just counted it out
        self._lingering.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._discard_received, conn))

    def _discard_received(self, conn: Any, client: Any) -> None:
        try:
            if client.recv(65_536):
                return
        except BlockingIOError:
            return
        except OSError:  # it was reset
            pass
        self._close_idle(conn)

    def _close_idle(self, conn: Any) -> None:
        for group in (self._lingering, self.pending_conns, self.keepalived_conns):
            if conn in group:
                group.remove(conn)
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()


def _should_close(req: Any, sock: ClientSocket, default: Any) -> bool:
    """Also true when the response is sent before the whole body came: the rest is not waited for."""
    if not default() and _is_body_incomplete(req.body.reader, sock):
        req.force_close()
    return bool(default())


def _is_body_incomplete(reader: Any, sock: ClientSocket) -> bool:
    if hasattr(reader, "parser"):  # chunks
        return reader.parser is not None
    left: int = reader.length
    return left > 0 and left > len(reader.unreader.buf.getvalue()) + sock.readable_bytes()
