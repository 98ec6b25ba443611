"""Cache of rendered job status, valid while the job is unchanged."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from app.core.job import JobView
from app.core.lru_cache import LRUCache
from app.services.context import AppContext
from app.services.jobs.eta import EtaEstimator
from app.services.jobs.status import view as read_view
from app.services.urls import url_prefix
from app.store.queue.status_probe import StatusProbe

CACHE_ENTRIES = 500  # jobs; some kilobytes each
ESTIMATE_SECONDS = 1.0  # maximum age of an estimate; everything else is always current


@dataclass(frozen=True)
class _Entry:
    view: JobView
    answer: bytes

    def is_current(self, probe: StatusProbe) -> bool:
        return self.view.job.revision == probe.revision and len(self.view.outputs) == probe.outputs


class StatusCache:
    """Caches what `render` returns for `services.jobs.status.view`. One per process; thread-safe."""

    def __init__(self, context: AppContext, render: Callable[[JobView], bytes]) -> None:
        self._context = context
        self._render = render
        self._status_probes = context.status_probes
        self._known: LRUCache[tuple[str, str], _Entry] = LRUCache(CACHE_ENTRIES)
        self._estimator: tuple[float, EtaEstimator] | None = None

    def answer(self, job_id: str) -> bytes:
        """Raises JobNotFound or Gone."""
        probe = self._status_probes.probe(job_id)
        known = self._known.get((url_prefix(), job_id))
        if known is None or probe is None or not known.is_current(probe):
            return self._put(job_id, read_view(self._context, job_id, self._now())).answer
        if known.view.job.status.terminal:
            return known.answer
        now = self._now()
        eta, waits_for = now.eta(known.view.job, probe.position), now.waits_for(known.view.job)
        if (known.view.position, known.view.eta_seconds, known.view.waits_for) == (probe.position, eta, waits_for):
            return known.answer
        new = replace(known.view, position=probe.position, eta_seconds=eta, waits_for=waits_for)
        return self._put(job_id, new).answer

    def _put(self, job_id: str, view: JobView) -> _Entry:
        entry = _Entry(view, self._render(view))
        self._known.put((url_prefix(), job_id), entry)
        return entry

    def _now(self) -> EtaEstimator:
        if self._estimator is None or time.monotonic() - self._estimator[0] > ESTIMATE_SECONDS:
            self._estimator = (time.monotonic(), EtaEstimator(self._context))
        return self._estimator[1]
