"""File lock in front of SQLite's write lock, to make writers take turns.

SQLite's own lock waits are unfair: with four writers one may wait for seconds; here it is milliseconds. The lock is for
fairness only. BEGIN IMMEDIATE ensures exclusive writes, so a stopped process may hold this lock for ever.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT_SECONDS = 5.0  # at most; then continue without the lock
POLL_SECONDS = 0.001  # a commit takes a few milliseconds: the lock should not stay unused for longer


@contextmanager
def writer_lock(database: Path, seconds: float = TIMEOUT_SECONDS) -> Iterator[None]:
    """Hold the writer lock of the SQLite file `database`; after `seconds` go on without it."""
    descriptor = _open(Path(f"{database}.gate"))
    try:
        if descriptor is not None:
            _lock_within(descriptor, min(seconds, TIMEOUT_SECONDS))
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)  # releases the lock


def _open(file: Path) -> int | None:
    """None if it cannot be opened: the database itself then says what is wrong with its disk."""
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)  # minus the umask
    except OSError:
        return None


def _lock_within(descriptor: int, seconds: float) -> bool:
    """Acquire the file lock, or give up: a stopped process must not block all others."""
    give_up_at = time.monotonic() + seconds
    pause = 0.0001
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= give_up_at:
                return False
        time.sleep(pause)
        pause = min(pause * 2, POLL_SECONDS)
