"""Probe of the media folders: whether a file can be written there, and if not, in which and why."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

TEMPORARY = ".partial-"
LEAST_FREE_BYTES = 1 << 20  # with less no picture fits, whatever DISK_FLOOR_BYTES allows
MAX_AGE_SECONDS = 2.0  # of a result, for health checks: they may come at any rate


class FolderProbe:
    """Writes and removes a small file in each of `folders`. Thread-safe."""

    def __init__(self, folders: Sequence[Path], clock: Callable[[], float] = time.monotonic) -> None:
        self._folders = list(dict.fromkeys(folders))
        self._clock = clock
        self._lock = threading.Lock()
        self._probed_at = float("-inf")
        self._problem: str | None = None

    def problem(self, max_age: float = MAX_AGE_SECONDS) -> str | None:
        """`<folder>: <reason>` of the first folder that cannot be written, else None. A result is used again for
        `max_age` seconds."""
        with self._lock:
            if self._clock() - self._probed_at >= max_age:
                self._problem = next(filter(None, map(_problem_of, self._folders)), None)
                self._probed_at = self._clock()
            return self._problem


def describe(folder: Path, error: OSError) -> str:
    """`images: read-only file system`."""
    return f"{folder.name}: {(os.strerror(error.errno) if error.errno else str(error)).lower()}"


def free_bytes(folder: Path) -> int:
    """Free space of the disk of `folder`, or of its nearest existing parent."""
    return shutil.disk_usage(_existing(folder)).free


def used_percent(folder: Path) -> float:
    """Use of that disk, 0 to 100, as df reckons it: of what is not reserved for the system."""
    usage = shutil.disk_usage(_existing(folder))
    return 100.0 * usage.used / max(1, usage.used + usage.free)


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _problem_of(folder: Path) -> str | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_and_remove(folder / f"{TEMPORARY}{uuid.uuid4().hex}")
        if free_bytes(folder) < LEAST_FREE_BYTES:
            raise OSError(errno.ENOSPC, "")
    except FileExistsError:
        return describe(folder, NotADirectoryError(errno.ENOTDIR, ""))
    except OSError as error:
        return describe(folder, error)
    return None


def _write_and_remove(path: Path) -> None:
    try:
        with path.open("xb") as file:
            file.write(b"CyberImage")
            file.flush()
            os.fsync(file.fileno())  # some errors of a disk show only here
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
