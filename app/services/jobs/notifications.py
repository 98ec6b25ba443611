"""Follow a job as it changes: the one way that event streams and waiting façades watch the queue.

Each process has one `JobNotifier`: a thread that is notified and wakes the followers. Followers look at the job's
revision themselves, so a lost ring costs them one slow poll and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from app.services.context import AppContext
from app.services.jobs.status import JobView, view
from app.store.db.notify import Subscription

POLL_SECONDS = 1.0


class JobNotifier:
    """Wakes followers when a job changed. The listening thread starts with the first follower."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._heard = threading.Condition()
        self._versions: dict[str, int] = {}  # job id → how many rings; only of jobs that are followed
        self._followers: dict[str, int] = {}
        self._audience: list[Callable[[str], None]] = []
        self._thread: threading.Thread | None = None

    def follow(self, job_id: str, *, after_revision: int = 0, idle_seconds: float = 15.0) -> Iterator[JobView | None]:
        """Every new state of the job, the present one first if it is newer than `after_revision`; None whenever
        nothing happened for `idle_seconds`. Ends after the terminal state. Raises JobNotFound or Gone.
        """
        self._start()
        self._subscribe(job_id, +1)
        try:
            seen, last_word = after_revision, time.monotonic()
            while True:
                rings = self._versions.get(job_id, 0)
                revision = self._context.jobs.revision(job_id)
                if revision is None or revision > seen:
                    current = view(self._context, job_id)
                    seen, last_word = current.job.revision, time.monotonic()
                    yield current
                    if current.job.status.terminal:
                        return
                elif self._context.jobs.get(job_id).status.terminal:
                    return
                elif time.monotonic() - last_word >= idle_seconds:
                    last_word = time.monotonic()
                    yield None
                self._wait(job_id, rings, min(POLL_SECONDS, idle_seconds))
        finally:
            self._subscribe(job_id, -1)

    def wait_until_done(self, job_id: str, timeout: float, give_up: Callable[[], bool] = lambda: False) -> JobView:
        """The job's state when it has ended, or as it stands after `timeout` seconds or once `give_up` says so.

        Raises JobNotFound or Gone.
        """

        def has_ended() -> bool:
            return self._context.jobs.get(job_id).status.terminal

        self.wait_until(job_id, has_ended, timeout, give_up)
        return view(self._context, job_id)

    def wait_until(
        self, subject: str, condition: Callable[[], bool], timeout: float, give_up: Callable[[], bool] = lambda: False
    ) -> bool:
        """Whether `condition` came true within `timeout` seconds and before `give_up` did. It is looked at whenever
        somebody rings for `subject`, and about once a second."""
        give_up_at = time.monotonic() + timeout
        self._start()
        self._subscribe(subject, +1)
        try:
            while True:
                rings = self._versions.get(subject, 0)
                if condition():
                    return True
                left = give_up_at - time.monotonic()
                if left <= 0 or give_up():
                    return False
                self._wait(subject, rings, min(POLL_SECONDS, left))
        finally:
            self._subscribe(subject, -1)

    def on_news(self, hear: Callable[[str], None]) -> None:
        """Have `hear` called with the id of every job that somebody rang for, by the listening thread."""
        self._audience.append(hear)
        self._start()

    def _wait(self, job_id: str, rings: int, timeout: float) -> None:
        with self._heard:
            self._heard.wait_for(lambda: self._versions.get(job_id, 0) != rings, timeout)

    def _subscribe(self, job_id: str, change: int) -> None:
        with self._heard:
            self._followers[job_id] = self._followers.get(job_id, 0) + change
            if not self._followers[job_id]:
                del self._followers[job_id]
                self._versions.pop(job_id, None)

    def _start(self) -> None:
        with self._heard:
            if self._thread is None:
                listener = self._context.notifications.listen("news")
                self._thread = threading.Thread(target=self._listen, args=(listener,), name="newsroom", daemon=True)
                self._thread.start()

    def _listen(self, listener: Subscription) -> None:
        while True:
            job_id = listener.wait(POLL_SECONDS)
            if job_id is None:
                continue
            for hear in self._audience:
                hear(job_id)
            with self._heard:
                if job_id in self._followers:
                    self._versions[job_id] = self._versions.get(job_id, 0) + 1
                    self._heard.notify_all()
