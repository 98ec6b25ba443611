"""Which of the jobs that wait are for this worker: what it can run, and what others are nearer to."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from types import MappingProxyType

from app.core.assignment import Deference, Judge, Left, LiveWorker, deference, is_left, standing, standings
from app.core.catalog import Lane
from app.core.needs import Needs
from app.services.context import AppContext
from app.services.models.fleet import live_workers
from app.store.queue.workers import NOT_TAKING
from app.worker.capability_report import CapabilityReport

FRESH_SECONDS = 1.0  # how old the view of the other workers may be


class Assignment:
    """`left` is what this worker leaves to others, because its device refused it (`worker.refusals`)."""

    def __init__(self, context: AppContext, worker_id: str, lane: Lane, report: CapabilityReport) -> None:
        self._context = context
        self._id = worker_id
        self._lane = lane
        self._report = report
        self._others: tuple[float, Sequence[LiveWorker]] | None = None

    def judge(self, ready: Collection[str], left: Left = MappingProxyType({})) -> Judge | None:
        """For a claim of this worker, which has the models `ready` loaded; None while it takes all jobs. The judge
        raises DatabaseUnavailable."""
        own = self._report.current
        if own is None and not left:
            return None

        def judged(needs: Needs) -> Deference | None:
            if is_left(needs, left):
                return None
            if own is None:
                return "none"
            place = standing(needs, own, ready)
            if place is None:
                self._report.ask()
                return None
            return deference(place, standings(needs, self._other_workers())) if place else "none"

        return judged

    def _other_workers(self) -> Sequence[LiveWorker]:
        """The other live workers of the lane that take jobs."""
        if self._others is None or time.monotonic() - self._others[0] > FRESH_SECONDS:
            rows = [row for row in self._context.workers.live() if row["lane"] == self._lane and row["id"] != self._id]
            taking = [row for row in rows if row["state"] not in NOT_TAKING]
            running = self._context.workers.running() if taking else {}
            self._others = (time.monotonic(), live_workers(self._context, taking, running))
        return self._others[1]
