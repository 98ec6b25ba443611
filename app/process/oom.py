"""Counts processes that the kernel killed for lack of memory: of this control group, and of the whole machine."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

SAMPLE_EVERY_SECONDS = 1.0
WINDOW = 10  # samples: a process with much memory needs seconds to end after it was killed

Counts = tuple[int, ...]


def oom_kills(root: Path = Path("/")) -> Counts:
    """The counters `oom_kill` of this process' control group (version 2 or 1) and of the kernel; -1 for one that cannot
    be read."""
    group = _group(root)
    files = (
        root / "sys/fs/cgroup" / group / "memory.events",
        root / "sys/fs/cgroup/memory" / group / "memory.oom_control",
        root / "proc/vmstat",
    )
    return tuple(_counter(file) for file in files)


class OomWatch:
    """Says whether the kernel has killed a process for lack of memory within the last seconds."""

    def __init__(self, read: Callable[[], Counts] = oom_kills) -> None:
        self._read = read
        self._samples: deque[Counts] = deque([read()], maxlen=WINDOW)
        self._next_at = 0.0

    def sample(self) -> None:
        """Read the counters, at most once a second."""
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + SAMPLE_EVERY_SECONDS
            self._samples.append(self._read())

    def has_killed(self) -> bool:
        return any(now > before >= 0 for before, now in zip(self._samples[0], self._read(), strict=True))


def _group(root: Path) -> str:
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0" or "memory" in controllers.split(","):
                return path.strip("/")
    return ""


def _counter(file: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return _find(file.read_text().splitlines())
    return -1


def _find(lines: Sequence[str]) -> int:
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), -1)
