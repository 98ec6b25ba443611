"""gunicorn's threaded worker, taught three things: to tell the application when it is to stop, to give a socket away
when the application wants it, and to spend no thread on a client that does not get its request out.

A connection waits in the poller until the whole head of a request is there; then it gets a thread, which waits for a
body only as long as it keeps coming.
"""

from __future__ import annotations

import errno
import logging
import select
import selectors
import signal
import socket
import time
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from app.api.handover import HandedOver, announce_close
from app.api.server import Server
from app.services.reload import reload_settings

STREAMS_GRACE_SECONDS = 2.0
COURIER_GRACE_SECONDS = 3.0  # for webhooks under way; what takes longer is sent again by the next process
LARGEST_HEAD = 65_536  # more than gunicorn takes, so that it refuses it
BODY_PATIENCE_SECONDS = 15.0  # for a body, and on top the time that it takes at the slowest rate
SLOWEST_RATE = 20_000  # bytes a second
ANSWER_PATIENCE_SECONDS = 60.0  # until a client takes the next piece of an answer


class ServerProcess(ThreadWorker):
    """The process that serves."""

    def run(self) -> None:
        super().run()
        self._server.desk.join(timeout=STREAMS_GRACE_SECONDS)
        self.wsgi.extensions["courier"].stop(timeout=COURIER_GRACE_SECONDS)

    def accept(self, listener: Any) -> None:
        """Take a connection, which gets a thread when there is something to read."""
        try:
            accepted, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                return
            raise
        self.nr_conns += 1
        sock = PatientSocket(fileno=accepted.detach())
        conn = TConn(self.cfg, sock, client, listener.getsockname())
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        if client.has_whole_head():
            super().on_pending_socket_readable(conn, client)

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        if client.has_whole_head():
            super().on_client_socket_readable(conn, client)

    def handle_request(self, req: Any, conn: Any) -> Any:
        announce_close.set(req.force_close)
        if any(name == "UPGRADE" for name, _ in req.headers):
            conn.sock.wait_for_ever()  # a WebSocket, which may be silent
        try:
            return super().handle_request(req, conn)
        except HandedOver as wish:
            wish.accept(conn.sock, chunked=req.version >= (1, 1))
            conn.close = _leave_open
            return False  # gunicorn is done with the connection

    def handle_exit(self, sig: Any, frame: Any) -> None:
        self._server.draining.set()
        self._server.desk.wake()
        super().handle_exit(sig, frame)

    def init_signals(self) -> None:
        super().init_signals()
        signal.signal(signal.SIGHUP, self._handle_reload)
        signal.siginterrupt(signal.SIGHUP, False)

    def _handle_reload(self, sig: Any, frame: Any) -> None:
        self.method_queue.defer(self._reload)  # on the main loop, not in a signal handler

    def _reload(self) -> None:
        logging.getLogger("cyberimage.server").info("Reading the settings again")
        reload_settings(self._server.installation)

    @property
    def _server(self) -> Server:
        found: Server = self.wsgi.extensions["cyberimage"]
        return found


class PatientSocket(socket.socket):
    """A client's connection, patient for so long. `setblocking(True)` begins a request."""

    _began = 0.0
    _received = 0
    _bounded = False
    _waits_for_more = False

    def has_whole_head(self) -> bool:
        """Whether a request's head can be read without a wait, or the end of the connection. If not, the socket counts
        as readable again when there is more."""
        try:
            seen = self.recv(LARGEST_HEAD, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True  # let who reads it find out
        whole = not seen or b"\r\n\r\n" in seen or b"\n\n" in seen or len(seen) >= LARGEST_HEAD // 2
        whole = whole or self._has_no_more()
        if not whole or self._waits_for_more:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1 if whole else len(seen) + 1)
            self._waits_for_more = not whole
        return whole

    def _has_no_more(self) -> bool:
        """Whether the client has closed its side. Such a socket is readable for ever, whatever SO_RCVLOWAT says."""
        poll = select.poll()
        poll.register(self, getattr(select, "POLLRDHUP", 0))  # Linux; elsewhere it is waited for
        return bool(poll.poll(0))

    def setblocking(self, flag: bool, /) -> None:
        if flag:
            self._began, self._received, self._bounded = time.monotonic(), 0, True
            self.settimeout(ANSWER_PATIENCE_SECONDS)
        else:
            self._bounded = False
            super().setblocking(False)

    def wait_for_ever(self) -> None:
        self._bounded = False
        self.settimeout(None)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        if not self._bounded or not self._received:  # the first piece is there: has_whole_head has seen it
            data = super().recv(bufsize, flags)
            self._received += len(data)
            return data
        left = self._began + BODY_PATIENCE_SECONDS + self._received / SLOWEST_RATE - time.monotonic()
        self.settimeout(max(left, 0.001))
        try:
            data = super().recv(bufsize, flags)
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the client was too slow") from None
        finally:
            self.settimeout(ANSWER_PATIENCE_SECONDS)
        self._received += len(data)
        return data


def _leave_open(graceful: bool = False) -> None:
    """Closing a connection that belongs to somebody else now."""
