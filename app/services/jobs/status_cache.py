"""Answer "how does my job stand?" many times a second: remember what was read for as long as the job stands still."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from app.core.urls import url_prefix
from app.services.context import AppContext
from app.services.jobs.eta import EtaEstimator
from app.services.jobs.status import JobView
from app.services.jobs.status import view as read_view
from app.store.queue.status_probe import StatusProbe, StatusProbeStore

MOST_REMEMBERED = 500  # jobs; some kilobytes each
OUTLOOK_SECONDS = 1.0  # an estimate may be this old; nothing else may


@dataclass(frozen=True)
class _Entry:
    view: JobView
    answer: bytes

    def still_true(self, glance: StatusProbe) -> bool:
        return self.view.job.revision == glance.revision and len(self.view.outputs) == glance.outputs


class StatusCache:
    """What `render` makes of `services.status.view`, at a fraction of its cost. One per process; safe with threads."""

    def __init__(self, context: AppContext, render: Callable[[JobView], bytes]) -> None:
        self._context = context
        self._render = render
        self._status_probes = StatusProbeStore(context.database)
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._estimator: tuple[float, EtaEstimator] | None = None

    def answer(self, job_id: str) -> bytes:
        """Raises JobNotFound or Gone."""
        glance = self._status_probes.glance(job_id)
        known = self._known.get((url_prefix(), job_id))
        if known is None or glance is None or not known.still_true(glance):
            return self._remember(job_id, read_view(self._context, job_id, self._now())).answer
        if known.view.job.status.terminal:
            return known.answer
        eta = self._now().eta(known.view.job, glance.position)
        if (known.view.position, known.view.eta_seconds) == (glance.position, eta):
            return known.answer
        return self._remember(job_id, replace(known.view, position=glance.position, eta_seconds=eta)).answer

    def _remember(self, job_id: str, view: JobView) -> _Entry:
        entry = _Entry(view, self._render(view))
        with self._lock:
            self._known[url_prefix(), job_id] = entry
            self._known.move_to_end((url_prefix(), job_id))
            if len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
        return entry

    def _now(self) -> EtaEstimator:
        if self._estimator is None or time.monotonic() - self._estimator[0] > OUTLOOK_SECONDS:
            self._estimator = (time.monotonic(), EtaEstimator(self._context))
        return self._estimator[1]
