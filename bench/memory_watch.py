"""The memory of a running service, process by process, over time."""

from __future__ import annotations

import contextlib
import threading
import time

import psutil


class MemoryWatch(threading.Thread):
    """Samples the resident bytes of the API and the workers below `pid` every `every` seconds, until `stop`."""

    def __init__(self, pid: int, every: float = 1.0) -> None:
        super().__init__(name="memory watch", daemon=True)
        self._root = psutil.Process(pid)
        self._every = every
        self._stopping = threading.Event()
        self._began = time.monotonic()
        self.seen: dict[str, list[tuple[float, int]]] = {}  # role → (seconds since the start, bytes)

    def run(self) -> None:
        while not self._stopping.wait(self._every):
            self.look()

    def look(self) -> None:
        sums: dict[str, int] = {}
        for process in self._root.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                role = _role_of(process)
                sums[role] = max(sums.get(role, 0), process.memory_info().rss)  # of gunicorn's two, the one that serves
        for role, size in sums.items():
            self.seen.setdefault(role, []).append((time.monotonic() - self._began, size))

    def stop(self) -> None:
        self._stopping.set()
        self.join()
        self.look()


def _role_of(process: psutil.Process) -> str:
    return "worker" if any("worker.py" in part for part in process.cmdline()) else "API"


def megabytes(size: float) -> str:
    return f"{size / 2**20:.1f} MB"
