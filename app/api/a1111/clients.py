"""What each client of AUTOMATIC1111's interface has set and submitted, by this API process.

In memory only: after a restart options are the defaults again, as they are there, and no call waits any more.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, ClassVar

from flask import current_app

from app.core.lru_cache import LRUCache

MOST_CLIENTS = 1000
MOST_JOBS = 100  # of a client; older ones go on, but `interrupt` does not reach them
MOST_TASKS = 4096
MOST_OPTIONS = 300


class Client:
    """Thread-safe. `jobs` are ids of jobs that may be active, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._options: dict[str, Any] = {}
        self._jobs: OrderedDict[str, None] = OrderedDict()

    @property
    def options(self) -> dict[str, Any]:
        with self._lock:
            return dict(self._options)

    def set_options(self, changed: Mapping[str, Any]) -> None:
        with self._lock:
            merged = {**self._options, **changed}
            self._options = dict(list(merged.items())[-MOST_OPTIONS:])

    @property
    def jobs(self) -> list[str]:
        with self._lock:
            return list(self._jobs)

    def add_job(self, job_id: str) -> None:
        with self._lock:
            self._jobs[job_id] = None
            if len(self._jobs) > MOST_JOBS:
                self._jobs.popitem(last=False)

    def remove_job(self, job_id: str) -> None:
        with self._lock:
            self._jobs.pop(job_id, None)


class Clients:
    EXTENSION: ClassVar[str] = "cyberimage-a1111-clients"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: LRUCache[str, Client] = LRUCache(MOST_CLIENTS)
        self._tasks: LRUCache[tuple[str, str], str] = LRUCache(MOST_TASKS)

    def of(self, client_id: str) -> Client:
        with self._lock:
            found = self._clients.get(client_id)
            if found is None:
                found = Client()
                self._clients.put(client_id, found)
            return found

    def name_task(self, client_id: str, task: str, job_id: str) -> None:
        """`task` is what the client calls the job."""
        self._tasks.put((client_id, task), job_id)

    def job_of_task(self, client_id: str, task: str) -> str | None:
        return self._tasks.get((client_id, task))


def clients() -> Clients:
    """Those of the current application."""
    found: Clients = current_app.extensions[Clients.EXTENSION]
    return found
