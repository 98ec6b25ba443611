"""Identity of a SQLite file: noticing that it was removed or replaced while it is open.

Its connections would go on with a file without a name, and lose with it all that they accept.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from app.errors import DatabaseUnavailable
from app.monitoring.fault_log import database_faults

log = logging.getLogger("cyberimage.store")

RETRY_AFTER_SECONDS = 5.0
_TRACES = ("-wal", ".gate")  # beside a database that is in use, or was: its log, and its writers' lock file


class DatabaseFile:
    """The file at `path`, by device and inode, since `remember` was first called."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._identity: tuple[int, int] | None = None

    def connect_url(self) -> str:
        """The URL for a connection that makes no file. SQLite alone would, also for one that is moved away between a
        look at it and the connect, and it would delete the log of the missing one. The file of a new database is made
        here. Raises DatabaseUnavailable."""
        if self._identity is None:
            self._refuse_to_begin_anew()
            with suppress(OSError):  # it is there, or cannot be: SQLite says why
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))  # minus the umask
        return f"file:{quote(str(self.path))}?mode=rw"

    def remember(self) -> None:
        """Call it after each connect: the first one may have made the file. Raises DatabaseUnavailable."""
        if self._identity is None:
            found = os.stat(self.path)
            self._identity = (found.st_dev, found.st_ino)
        self.check()

    def forget(self) -> None:
        """Call it when all connections are closed: the next may be to another file."""
        self._identity = None

    def check(self) -> None:
        """A microsecond on a local disk. Raises DatabaseUnavailable."""
        if self._identity is None:
            self._refuse_to_begin_anew()
            return
        try:
            found = os.stat(self.path)
        except OSError:
            raise self._refusal() from None
        if (found.st_dev, found.st_ino) != self._identity:
            raise self._refusal()

    def _refuse_to_begin_anew(self) -> None:
        """An empty file in place of a missing one would take jobs that are lost when that is put back, and damage it by
        its own log."""
        if self.path.exists():
            return
        traces = [self.path.with_name(f"{self.path.name}{suffix}") for suffix in _TRACES]
        if found := [trace.name for trace in traces if trace.exists()]:
            raise DatabaseUnavailable(
                f"The database file {self.path.name} is missing, though {found[0]} is there. Put the file back, or"
                f" remove {' and '.join(found)} to begin with an empty database.",
                retry_after=RETRY_AFTER_SECONDS,
            )

    @contextmanager
    def checked(self) -> Iterator[None]:
        """Check before the block and after it: what was committed meanwhile may be lost, and is not acknowledged."""
        self.check()
        yield
        self.check()

    def _refusal(self) -> DatabaseUnavailable:
        name = self.path.name
        database_faults.add(log, logging.ERROR, "The database file %s was removed or replaced", self.path)
        return DatabaseUnavailable(
            f"The database file {name} was removed or replaced while it is in use. Put the file back that was there,"
            f" or stop the service, remove {name}-wal and {name}-shm, and start it again.",
            retry_after=RETRY_AFTER_SECONDS,
        )


def set_aside(path: Path) -> Path:
    """Rename a damaged file, or what is left beside a missing one. Returns the new name of the file."""
    suffix = f".damaged-{int(time.time())}"
    for part in ("", "-shm", *_TRACES):
        source = path.with_name(f"{path.name}{part}")
        if source.exists():
            source.rename(path.with_name(f"{path.name}{suffix}{part}"))
    return path.with_name(f"{path.name}{suffix}")
