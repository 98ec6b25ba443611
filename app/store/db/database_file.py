"""Identity of a SQLite file: noticing that it was removed or replaced while it is open.

Its connections would go on with a file without a name, and lose with it all that they accept.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import DatabaseUnavailable
from app.monitoring.fault_log import database_faults

log = logging.getLogger("cyberimage.store")

RETRY_AFTER_SECONDS = 5.0


class DatabaseFile:
    """The file at `path`, by device and inode, since `remember` was first called."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._identity: tuple[int, int] | None = None

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
        """SQLite would make an empty file, and delete the WAL of the missing one with what was committed last."""
        wal = self.path.with_name(f"{self.path.name}-wal")
        if not self.path.exists() and wal.exists():
            raise DatabaseUnavailable(
                f"The database file {self.path.name} is missing, though {wal.name} is there. Put the file back, or"
                f" remove {wal.name} to begin with an empty database.",
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
    """Rename a damaged file, its WAL and its index. Returns the new name of the file."""
    suffix = f".damaged-{int(time.time())}"
    for part in ("", "-wal", "-shm"):
        source = path.with_name(f"{path.name}{part}")
        if source.exists():
            source.rename(path.with_name(f"{path.name}{suffix}{part}"))
    return path.with_name(f"{path.name}{suffix}")
