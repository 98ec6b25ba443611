"""The gate in front of SQLite's write lock: whoever wants to write waits here, in turn and not for long.

SQLite's own lock waits are unfair: under four writers one may wait for seconds. Here it is milliseconds. The gate is
for fairness only; that writers are alone is BEGIN IMMEDIATE's to see to, so a stopped process may keep it for ever.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT_SECONDS = 5.0  # then go on without it
POLL_SECONDS = 0.001  # a commit takes a few: nobody should find the gate open and unused


@contextmanager
def writer_lock(database: Path | None) -> Iterator[None]:
    """Hold the gate of the SQLite file `database`; None (another database) has none."""
    if database is None:
        yield
        return
    descriptor = os.open(f"{database}.gate", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)  # less the umask
    try:
        _lock_within(descriptor, TIMEOUT_SECONDS)
        yield
    finally:
        os.close(descriptor)  # releases the lock


def _lock_within(descriptor: int, seconds: float) -> bool:
    """Take the file lock, or give up: a stopped process must not stop everybody else."""
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
