"""Starts processes by a fork server: without an interpreter's start and seconds of imports."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from app.config import ROOT

# What libraries read when they are imported: a process with another value is started, not forked.
_READ_AT_IMPORT = ("HF_", "TORCH", "TMPDIR", "XDG_", "PYTHON", "LD_", "OMP_", "CUDA_", "MKL_", "OPENBLAS_")
_SERVERS_OWN = {
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "-1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
_ROOM = "-" * 1000  # for the command lines of its processes
_STARTED = ("-c",)


class ForkedProcess:
    """Has what tests use of `subprocess.Popen`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid = int(connection.recv(100))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                told = self._connection.recv(100)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0) from None
            assert told, "the fork server has ended"
            self.returncode = int(told)
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _ForkServer:
    def __init__(self, kind: str, kept: Mapping[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="cyberimage-fork-")
        self._address = str(Path(self._folder.name) / "socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(self._address)
            listener.listen(100)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server.server", kind, str(listener.fileno()), _ROOM],
                cwd=ROOT,
                env={**kept, **_SERVERS_OWN, "HF_HOME": str(Path(self._folder.name) / "none")},
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )
        atexit.register(self._end)

    def fork(self, command: Sequence[str], environment: Mapping[str, str], output: int) -> ForkedProcess:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(self._address)
        os.umask(umask := os.umask(0))
        request = {"command": command, "environment": dict(environment), "umask": umask}
        socket.send_fds(connection, [json.dumps(request).encode()], [output])
        return ForkedProcess(connection)

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()


@cache
def _server(kind: str, kept: tuple[tuple[str, str], ...]) -> _ForkServer:
    return _ForkServer(kind, dict(kept))


def can_fork(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether a forked process would be the same as a started one."""
    others = {name: value for name, value in environment.items() if name.startswith(_READ_AT_IMPORT)}
    return sys.platform == "linux" and command[0] not in _STARTED and others.items() <= _SERVERS_OWN.items()


def fork(command: Sequence[str], environment: Mapping[str, str], kept: Mapping[str, str], output: int) -> ForkedProcess:
    """Run `python <command>` in a process that has imported the libraries already; `kept` are variables that the
    server has too."""
    supervises = command[0] == "run.py" or (command[0] == "-m" and command[1].startswith("tests.e2e."))
    draws = supervises and environment.get("WORKERS") != "0"
    return _server("engines" if draws else "api", tuple(sorted(kept.items()))).fork(
        command, {**kept, **environment}, output
    )
