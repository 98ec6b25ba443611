"""Wait for job changes: used by event streams and by façades that wait for results.

Each process has one `JobNotifier`: a thread that receives notifications and wakes the followers. Followers compare
the job's revision themselves, so a lost notification costs them one poll interval and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from app.core.job import JobView
from app.process.threads import BackgroundThread
from app.services.context import AppContext
from app.services.jobs.status import view
from app.store.db.notify import Subscription

POLL_SECONDS = 1.0


class JobNotifier:
    """Wakes followers when a job changed. The subscriber thread starts with the first follower."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._changed = threading.Condition()
        self._versions: dict[str, int] = {}  # job id → number of notifications; only of followed jobs
        self._followers: dict[str, int] = {}
        self._callbacks: list[Callable[[str], None]] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    def close(self) -> None:
        """End the subscriber thread, within POLL_SECONDS."""
        self._closed = True

    def follow(self, job_id: str, *, after_revision: int = 0, idle_seconds: float = 15.0) -> Iterator[JobView | None]:
        """Yield every new state of the job, the current one first if newer than `after_revision`; None if nothing
        happened for `idle_seconds`. Ends after the terminal state. Raises JobNotFound or Gone.
        """
        self._start()
        self._count_follower(job_id, +1)
        try:
            seen, last_yield = after_revision, time.monotonic()
            while True:
                version = self._versions.get(job_id, 0)
                revision = self._context.jobs.revision(job_id)
                if revision is None or revision > seen:
                    current = view(self._context, job_id)
                    seen, last_yield = current.job.revision, time.monotonic()
                    yield current
                    if current.job.status.terminal:
                        return
                elif self._context.jobs.get(job_id).status.terminal:
                    return
                elif time.monotonic() - last_yield >= idle_seconds:
                    last_yield = time.monotonic()
                    yield None
                self._wait(job_id, version, min(POLL_SECONDS, idle_seconds))
        finally:
            self._count_follower(job_id, -1)

    def wait_until_done(self, job_id: str, timeout: float, give_up: Callable[[], bool] = lambda: False) -> JobView:
        """Wait until the job ends, for at most `timeout` seconds or until `give_up` returns true. Returns its state.

        Raises JobNotFound or Gone.
        """

        def has_ended() -> bool:
            return self._context.jobs.get(job_id).status.terminal

        self.wait_until(job_id, has_ended, timeout, give_up)
        return view(self._context, job_id)

    def wait_until(
        self, subject: str, condition: Callable[[], bool], timeout: float, give_up: Callable[[], bool] = lambda: False
    ) -> bool:
        """Wait until `condition` is true, for at most `timeout` seconds or until `give_up` returns true. Returns
        whether it became true. Both are checked at each notification of `subject`, and about once a second."""
        give_up_at = time.monotonic() + timeout
        self._start()
        self._count_follower(subject, +1)
        try:
            while True:
                version = self._versions.get(subject, 0)
                if condition():
                    return True
                left = give_up_at - time.monotonic()
                if left <= 0 or give_up():
                    return False
                self._wait(subject, version, min(POLL_SECONDS, left))
        finally:
            self._count_follower(subject, -1)

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Register `callback`: the subscriber thread calls it with the id of every changed job."""
        self._callbacks.append(callback)
        self._start()

    def _wait(self, job_id: str, version: int, timeout: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._versions.get(job_id, 0) != version, timeout)

    def _count_follower(self, job_id: str, change: int) -> None:
        with self._changed:
            self._followers[job_id] = self._followers.get(job_id, 0) + change
            if not self._followers[job_id]:
                del self._followers[job_id]
                self._versions.pop(job_id, None)

    def _start(self) -> None:
        with self._changed:
            if self._thread is None:
                subscription = self._context.notifications.subscribe("news")
                self._thread = BackgroundThread("job-notifier", lambda: self._receive(subscription))
                self._thread.start()

    def _receive(self, subscription: Subscription) -> None:
        while not self._closed:
            job_id = subscription.wait(POLL_SECONDS)
            if job_id is None:
                continue
            for callback in self._callbacks:
                callback(job_id)
            with self._changed:
                if job_id in self._followers:
                    self._versions[job_id] = self._versions.get(job_id, 0) + 1
                    self._changed.notify_all()
        subscription.close()
