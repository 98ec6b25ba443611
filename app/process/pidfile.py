"""The PID file of run.py for an installation, used by `run.py --stop` and `--reload`.

It is locked as long as run.py lives, so a file left by a crash is recognised as stale.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE = "run.pid"
POLL_SECONDS = 0.2


@contextmanager
def hold_pidfile(folder: Path) -> Iterator[None]:
    """Hold the PID file in `folder` for the block. If another run.py holds it already, that one keeps it."""
    descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    try:
        if _lock(descriptor):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def running_pid(folder: Path) -> int | None:
    """The process id of the run.py that holds the PID file in `folder`; None if none does."""
    try:
        descriptor = os.open(folder / FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if _lock(descriptor):
            return None
        text = os.pread(descriptor, 20, 0).decode().strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)


def signal_process(folder: Path, number: signal.Signals, *, wait_seconds: float = 0) -> int | None:
    """Send a signal to that run.py and wait until it has ended. Returns its process id, None if none is running.

    Raises PermissionError if it belongs to another user, TimeoutError if it still runs after `wait_seconds`.
    """
    pid = running_pid(folder)
    if pid is None:
        return None
    os.kill(pid, number)
    give_up_at = time.monotonic() + wait_seconds
    while wait_seconds and running_pid(folder) == pid:
        if time.monotonic() >= give_up_at:
            raise TimeoutError(f"process {pid} is still running after {wait_seconds:g} seconds")
        time.sleep(POLL_SECONDS)
    return pid


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
