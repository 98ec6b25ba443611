"""Probes of media stores: whether a file can be written there, and if not, why."""

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


class Probe:
    """Keeps the result of `look`, which returns what keeps files from being written, or None. A good one counts for
    `healthy_seconds` at least, unless a new one is asked for. Thread-safe."""

    def __init__(
        self,
        look: Callable[[], str | None],
        clock: Callable[[], float] = time.monotonic,
        *,
        healthy_seconds: float = 0.0,
    ) -> None:
        self._look = look
        self._clock = clock
        self._healthy_seconds = healthy_seconds
        self._lock = threading.Lock()
        self._probed_at = float("-inf")
        self._problem: str | None = None

    def problem(self, max_age: float = MAX_AGE_SECONDS) -> str | None:
        """The result, used again for `max_age` seconds; 0 = a new one. While another thread looks, the last one: what
        is looked at may hang, and health checks must not wait for it with all threads."""
        if not self._lock.acquire(blocking=not max_age or self._probed_at == float("-inf")):
            return self._problem
        try:
            counts = max(max_age, self._healthy_seconds) if max_age and self._problem is None else max_age
            if self._clock() - self._probed_at >= counts:
                self._problem = self._look()
                self._probed_at = self._clock()
            return self._problem
        finally:
            self._lock.release()


class FolderProbe(Probe):
    """Writes and removes a small file in each of `folders`; a problem is `<folder>: <reason>` of the first that cannot
    be written."""

    def __init__(self, folders: Sequence[Path], clock: Callable[[], float] = time.monotonic) -> None:
        found = list(dict.fromkeys(folders))
        super().__init__(lambda: next(filter(None, map(_problem_of, found)), None), clock)


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
