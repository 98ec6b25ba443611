"""What app/server/gunicorn_internals.py relies on: names, signatures and behaviour of the installed gunicorn."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gunicorn
import pytest
from gunicorn import http
from gunicorn.config import Config
from gunicorn.workers.gthread import TConn, ThreadWorker

from app.api.server.socket_handover import HandedOver, announce_close
from app.config import ROOT
from app.errors import ConfigurationError
from app.server import gunicorn_internals as internals
from app.server.client_socket import ClientSocket, Slots
from app.server.gunicorn_internals import INTERNALS, TESTED_VERSIONS, PollingWorker
from tests.waiting import PATIENCE, wait_until

SIGNATURES = {
    "gunicorn.workers.gthread:ThreadWorker.get_thread_pool": "(self)",
    "gunicorn.workers.gthread:ThreadWorker.run": "(self)",
    "gunicorn.workers.gthread:ThreadWorker.accept": "(self, listener)",
    "gunicorn.workers.gthread:ThreadWorker.on_pending_socket_readable": "(self, conn, client)",
    "gunicorn.workers.gthread:ThreadWorker.on_client_socket_readable": "(self, conn, client)",
    "gunicorn.workers.gthread:ThreadWorker.handle_request": "(self, req, conn)",
    "gunicorn.workers.gthread:ThreadWorker._keepalive_after": "(self, conn, keepalive)",
    "gunicorn.workers.gthread:ThreadWorker.handle_error": "(self, req, client, addr, exc)",
    "gunicorn.workers.gthread:ThreadWorker.murder_pending": "(self)",
    "gunicorn.workers.gthread:ThreadWorker.handle_exit": "(self, sig, frame)",
    "gunicorn.workers.gthread:ThreadWorker.handle_usr1": "(self, sig, frame)",
    "gunicorn.workers.gthread:ThreadWorker.init_signals": "(self)",
    "gunicorn.workers.gthread:TConn": "(cfg, sock, client, server)",
    "gunicorn.workers.gthread:TConn.close": "(self, graceful=False)",
    "gunicorn.workers.gthread:PollableMethodQueue.defer": "(self, callback, *args)",
    "gunicorn.http.message:Request.force_close": "(self)",
    "gunicorn.http.message:Request.should_close": "(self)",
    "gunicorn.util:close": "(sock)",
    "gunicorn.arbiter:Arbiter.handle_hup": "(self)",
    "gunicorn.arbiter:Arbiter.handle_usr1": "(self)",
    "gunicorn.arbiter:Arbiter.kill_workers": "(self, sig)",
    "gunicorn.glogging:Logger.setup": "(self, cfg)",
    "gunicorn.glogging:Logger.info": "(self, msg, *args, **kwargs)",
    "gunicorn.glogging:Logger.access": "(self, resp, req, environ, request_time)",
}
# Modules of ours that import gunicorn: the first import is documented, the second is in INTERNALS.
IMPORTERS = {
    "app/server/gunicorn_app.py": {"gunicorn.app.base"},
    "app/api/http/problems.py": {"gunicorn.http.errors"},
}


def resolve(name: str) -> Any:
    module, _, path = name.partition(":")
    return functools.reduce(getattr, path.split("."), importlib.import_module(module))


def settings(**changed: Any) -> Config:
    cfg = Config()
    for name, value in {"keepalive": 15, "threads": 2, "forwarded_allow_ips": "", **changed}.items():
        cfg.set(name, value)
    return cfg


def parsed(head: bytes) -> tuple[Any, socket.socket]:
    """A request as the worker gets it, and the client's end of its connection."""
    server, client = socket.socketpair()
    client.sendall(head)
    return next(http.get_parser(settings(), server, ("127.0.0.1", 1))), client


@functools.cache
def instances() -> dict[str, Any]:
    """One of each class whose attributes are made in its constructor, by its name in INTERNALS."""
    worker = ThreadWorker(1, os.getppid(), [], None, 30, settings(), internals.StandardLogger(settings()))
    worker.wsgi = None  # set by load_wsgi
    request, _ = parsed(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
    chunked, _ = parsed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    return {
        "gunicorn.workers.gthread:ThreadWorker": worker,
        "gunicorn.workers.gthread:TConn": TConn(settings(), socket.socketpair()[0], None, None),
        "gunicorn.http.message:Request": request,
        "gunicorn.http.body:LengthReader": request.body.reader,
        "gunicorn.http.body:ChunkedReader": chunked.body.reader,
        "gunicorn.glogging:Logger": importlib.import_module("gunicorn.glogging").Logger(settings()),
    }


def test_another_version_is_refused_at_the_start(tmp_path: Path) -> None:
    program = "import sys, gunicorn; gunicorn.__version__ = '99.1'\n"
    program += "from app.server.gunicorn_app import main; sys.exit(main())"
    places = {"DATABASE_URL": f"sqlite:///{tmp_path}/db", "IMAGES_DIR": f"{tmp_path}/i", "LOG_DIR": f"{tmp_path}/l"}
    environment = {**os.environ, "DISK_FLOOR_BYTES": "0", **places}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "gunicorn 99.1 is installed, but the server is tested only with" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_installed_and_the_pinned_version_are_tested(monkeypatch) -> None:
    internals.check_version()
    pinned = re.search(r"^gunicorn==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert pinned[1] in TESTED_VERSIONS
    monkeypatch.setattr(gunicorn, "__version__", "27.0.2")
    with pytest.raises(ConfigurationError, match=re.escape("27.0.2")):
        internals.check_version()


@pytest.mark.parametrize("name", INTERNALS)
def test_it_is_there(name: str) -> None:
    owner, _, attribute = name.rpartition(".") if "." in name.partition(":")[2] else ("", "", "")
    if owner in instances():
        assert hasattr(instances()[owner], attribute)
    else:
        resolve(name)


@pytest.mark.parametrize("name", SIGNATURES)
def test_its_signature_is_the_known_one(name: str) -> None:
    assert str(inspect.signature(resolve(name))) == SIGNATURES[name]


def test_no_other_module_imports_gunicorn() -> None:
    found: dict[str, set[str]] = {}
    for path in (ROOT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                if module is not None and module.partition(".")[0] == "gunicorn":
                    found.setdefault(str(path.relative_to(ROOT)), set()).add(module)
    del found["app/server/gunicorn_internals.py"]
    assert found == IMPORTERS


def test_all_that_is_used_is_listed() -> None:
    """Attributes of gunicorn's worker, connections and requests that the module names, but does not list."""
    tree = ast.parse(Path(internals.__file__).read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    listed = {name.rpartition(".")[2] for name in INTERNALS}
    for kind in ("ThreadWorker", "TConn"):
        theirs = set(dir(instances()[f"gunicorn.workers.gthread:{kind}"])) - set(dir(object))
        assert theirs & (used | defined) - listed == set()


# Requests and their bodies


def test_a_request_that_expects_continue_says_so() -> None:
    request, _ = parsed(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert request._expected_100_continue is True
    request, _ = parsed(b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\n")
    assert request._expected_100_continue is False
    assert request.version == (1, 0)


def test_a_request_can_be_made_to_close() -> None:
    request, _ = parsed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert not request.should_close()
    request.force_close()
    assert request.should_close()


def test_a_body_of_known_length_counts_down_and_buffers_ahead() -> None:
    request, _ = parsed(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabcdef")
    reader = request.body.reader
    assert not hasattr(reader, "parser")
    assert reader.length == 10
    assert reader.unreader.buf.getvalue() == b"abcdef"
    assert reader.read(2) == b"ab"
    assert reader.length == 8


def test_chunks_have_a_parser_until_the_last() -> None:
    request, _ = parsed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    reader = request.body.reader
    assert reader.parser is not None
    assert request.body.read() == b"abc"
    assert reader.parser is None


# The arbiter and the logger


def test_sighup_reaches_the_worker_and_starts_none(monkeypatch) -> None:
    arbiter = internals.InPlaceReloadArbiter.__new__(internals.InPlaceReloadArbiter)
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(arbiter, "WORKERS", {7: None})
    monkeypatch.setattr(arbiter, "kill_worker", lambda pid, sig: sent.append((pid, sig)))
    arbiter.handle_hup()
    assert sent == [(7, signal.SIGHUP)]


def test_the_logger_opens_nothing_and_logs_no_access() -> None:
    logger = internals.StandardLogger(settings(accesslog="-"))
    assert logger.error_log.name == "cyberimage.server"
    assert not logger.error_log.handlers
    assert not logger.access_log_enabled


# The worker


class Worker(PollingWorker):
    """Without a process of its own: `serve` runs its main loop in a thread."""

    slots = Slots(4, share=4)

    def thread_count(self) -> int:
        return 2

    def wrap_socket(self, accepted: socket.socket) -> ClientSocket:
        sock = ClientSocket(fileno=accepted.detach())
        sock.slots = self.slots
        return sock

    def refusal(self, error: Exception, address: Any) -> bytes:
        return f"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n{type(error).__name__}".encode()

    def before_serving(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def on_terminate(self) -> None:
        self.calls.append(("terminate", threading.get_ident()))

    def on_reload(self) -> None:
        self.calls.append(("reload", threading.get_ident()))

    def after_serving(self) -> None:
        self.calls.append(("after", threading.get_ident()))

    def enqueue_req(self, conn: Any) -> None:
        self.nr_given_threads = getattr(self, "nr_given_threads", 0) + 1
        super().enqueue_req(conn)


handed_over: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
environs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()


def application(environ: dict[str, Any], start_response: Any) -> Any:
    environs.put(environ)
    path = environ["PATH_INFO"]
    if path == "/read":
        environ["wsgi.input"].read()
    if path == "/stream":
        announce_close.get()()
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return stream()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


def stream() -> Iterator[bytes]:
    yield b"first"
    raise HandedOver(lambda sock, chunked: handed_over.put(sock))


@pytest.fixture
def worker(request) -> Iterator[SimpleNamespace]:
    """A worker whose main loop runs; `connect` opens a connection to it."""
    listener = socket.create_server(("127.0.0.1", 0))
    cfg = settings(graceful_timeout=5, worker_connections=getattr(request, "param", 100))
    worker = Worker(1, os.getppid(), [listener], None, 30, cfg, internals.StandardLogger(cfg))
    worker.wsgi = application
    worker.tpool = worker.get_thread_pool()
    worker.poller = internals.selectors.DefaultSelector()
    worker.method_queue.init()
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    address = listener.getsockname()
    yield SimpleNamespace(it=worker, thread=thread, connect=lambda: socket.create_connection(address, PATIENCE))
    if thread.is_alive():
        worker.handle_exit(signal.SIGTERM, None)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def answer_to(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    return b"".join(iter(lambda: connection.recv(65_536), b""))


CLOSE = b"Host: x\r\nConnection: close\r\n\r\n"


def test_a_request_gets_a_thread_once_it_is_ready(worker) -> None:
    with worker.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        wait_until(lambda: len(worker.it.pending_conns) == 1, "it was not accepted")
        assert worker.it.nr_conns == 1
        assert not hasattr(worker.it, "nr_given_threads")
        assert answer_to(connection, CLOSE).endswith(b"\r\n\r\nok")
        assert worker.it.nr_given_threads == 1
    assert not worker.it.pending_conns
    wait_until(lambda: worker.it.nr_conns == 0, "the connection is still counted")


def test_the_application_sees_the_socket(worker) -> None:
    with worker.connect() as connection:
        answer_to(connection, b"GET /socket HTTP/1.1\r\n" + CLOSE)
    while (environ := environs.get(timeout=PATIENCE))["PATH_INFO"] != "/socket":
        pass
    assert isinstance(environ["gunicorn.socket"], ClientSocket)  # app/api/server/client_disconnect.py


def test_a_kept_connection_is_polled_for_its_next_request(worker) -> None:
    with worker.connect() as connection:
        for number in (1, 2):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"ok"):
                answer += connection.recv(65_536)
            wait_until(lambda: len(worker.it.keepalived_conns) == 1, "it was not kept")
            assert worker.it.nr_given_threads == number
        kept = worker.it.keepalived_conns[0]
        assert 0 < kept.timeout - time.monotonic() <= 15


def test_continue_is_sent_only_when_the_body_is_read(worker) -> None:
    head = b" HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n" + CLOSE
    with worker.connect() as connection:
        assert answer_to(connection, b"POST /refuse" + head).startswith(b"HTTP/1.1 200 OK")
    with worker.connect() as connection:
        connection.sendall(b"POST /read" + head)
        assert connection.recv(25, socket.MSG_WAITALL) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert answer_to(connection, b"{}").startswith(b"HTTP/1.1 200 OK")


def test_a_response_before_the_whole_body_closes_and_is_not_lost(worker) -> None:
    with worker.connect() as connection:
        connection.sendall(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + b" " * 40_000)
        head = connection.recv(65_536)
        assert b"\r\nConnection: close\r\n" in head
        wait_until(lambda: len(worker.it._lingering) == 1, "it does not linger")
        connection.sendall(b" " * 40_000)  # what still comes is discarded, and resets nothing
        assert b"".join(iter(lambda: connection.recv(65_536), b"")) in (b"", b"ok")
    wait_until(lambda: worker.it.nr_conns == 0, "the connection is still counted")


def test_a_request_that_gunicorn_refuses_gets_our_response(worker) -> None:
    with worker.connect() as connection:
        assert answer_to(connection, b"get / HTTP/1.1\r\n" + CLOSE).endswith(b"\r\n\r\nInvalidRequestMethod")


def test_a_socket_that_was_handed_over_stays_open(worker) -> None:
    with worker.connect() as connection:
        connection.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        sock = handed_over.get(timeout=PATIENCE)
        wait_until(lambda: worker.it.nr_conns == 0, "the connection is still counted")
        assert sock.fileno() != -1
        sock.sendall(b"second")
        sock.close()
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert b"\r\nConnection: close\r\n" in answer
    assert b"first" in answer
    assert answer.endswith(b"second")


@pytest.mark.parametrize("worker", [2], indirect=True)
def test_idle_connections_make_room_for_new_ones(worker, monkeypatch) -> None:
    monkeypatch.setattr(internals, "NEW_CONNECTION_SECONDS", 0.0)
    with worker.connect() as first, worker.connect(), worker.connect() as third:
        assert answer_to(third, b"GET / HTTP/1.1\r\n" + CLOSE).endswith(b"ok")
        assert first.recv(1) == b""


def test_an_idle_connection_is_closed_at_its_timeout(worker) -> None:
    with worker.connect() as connection:
        wait_until(lambda: len(worker.it.pending_conns) == 1, "it was not accepted")
        worker.it.pending_conns[0].timeout = time.monotonic() - 1
        assert connection.recv(1) == b""
    wait_until(lambda: worker.it.nr_conns == 0, "the connection is still counted")


def test_a_stop_waits_neither_for_connections_without_a_request_nor_for_half_of_one(worker, monkeypatch) -> None:
    monkeypatch.setattr(internals, "STOP_SECONDS", 0.0)
    for setting in ("keepalive", "graceful_timeout"):
        worker.it.cfg.set(setting, int(2 * PATIENCE))
    with worker.connect() as silent, worker.connect() as half:
        half.sendall(b"GET / HTTP/1.1\r\n")
        wait_until(lambda: len(worker.it.pending_conns) == 2, "they were not accepted")
        worker.it.handle_exit(signal.SIGTERM, None)
        assert silent.recv(1) == b""
        worker.thread.join(PATIENCE)
    assert not worker.thread.is_alive()


def test_a_reload_runs_on_the_main_loop_and_a_stop_ends_it(worker) -> None:
    worker.it._handle_reload(signal.SIGHUP, None)
    wait_until(lambda: worker.it.calls, "it does not reload")
    worker.it.handle_exit(signal.SIGTERM, None)
    worker.thread.join(PATIENCE)
    assert not worker.it.alive
    assert worker.it.calls == [
        ("reload", worker.thread.ident),
        ("terminate", threading.get_ident()),
        ("after", worker.thread.ident),
    ]


def test_sighup_has_a_handler_of_ours(monkeypatch) -> None:
    handlers: dict[int, Any] = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    monkeypatch.setattr(signal, "siginterrupt", lambda *_: None)
    monkeypatch.setattr(signal, "set_wakeup_fd", lambda *_: None)
    worker = Worker(1, os.getppid(), [], None, 30, settings(), internals.StandardLogger(settings()))
    worker.PIPE = [0, 1]
    worker.init_signals()
    assert handlers[signal.SIGHUP] == worker._handle_reload
    assert handlers[signal.SIGTERM] == worker.handle_exit
