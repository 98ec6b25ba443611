"""Wake-up listener: wakes the threads of running jobs on notifications, such as a provider's webhook."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from app.services.context import AppContext
from app.worker.running_job import RunningJob

LISTEN_SECONDS = 1.0


class JobWakeups(threading.Thread):
    """An optimisation: without it the jobs' threads poll. `jobs` returns the jobs that this worker is running."""

    def __init__(self, context: AppContext, jobs: Callable[[], Sequence[RunningJob]]) -> None:
        super().__init__(name="wakeups", daemon=True)
        self._context = context
        self._jobs = jobs
        self._stopping = threading.Event()

    def run(self) -> None:
        listener = self._context.notifications.subscribe("news")
        try:
            while not self._stopping.is_set():
                job_id = listener.wait(LISTEN_SECONDS)
                for job in self._jobs() if job_id else ():
                    if job.claim.job_id == job_id:
                        job.wakeup.set()
        finally:
            listener.close()

    def stop(self) -> None:
        self._stopping.set()
