"""Hears of news about the jobs in this worker's hands, such as a provider's webhook, and wakes who waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from app.services.context import AppContext
from app.worker.running_job import RunningJob

LISTEN_SECONDS = 1.0


class JobWakeups(threading.Thread):
    """A hint and nothing more: without it they look for themselves after a while. `held` gives the jobs."""

    def __init__(self, context: AppContext, held: Callable[[], Sequence[RunningJob]]) -> None:
        super().__init__(name="mail", daemon=True)
        self._context = context
        self._held = held
        self._stopping = threading.Event()

    def run(self) -> None:
        listener = self._context.notifications.subscribe("news")
        try:
            while not self._stopping.is_set():
                job_id = listener.wait(LISTEN_SECONDS)
                for job in self._held() if job_id else ():
                    if job.claim.job_id == job_id:
                        job.news.set()
        finally:
            listener.close()

    def stop(self) -> None:
        self._stopping.set()
