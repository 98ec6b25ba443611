"""Answer "how does my job stand?" many times a second: remember what was read for as long as the job stands still."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import replace

from app.services.installation import Installation
from app.services.outlook import Outlook
from app.services.status import JobView
from app.services.status import view as read_view
from app.store.glances import Glance, GlanceStore

MOST_REMEMBERED = 1000  # jobs
OUTLOOK_SECONDS = 1.0  # an estimate may be this old; nothing else may


class StatusBoard:
    """As `services.status.view`, at a fraction of its cost. One per process; safe with threads."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._glances = GlanceStore(installation.database)
        self._lock = threading.Lock()
        self._known: OrderedDict[str, JobView] = OrderedDict()
        self._outlook: tuple[float, Outlook] | None = None

    def view(self, job_id: str) -> JobView:
        """Raises JobNotFound or Gone."""
        glance = self._glances.glance(job_id)
        known = self._known.get(job_id)
        if known is None or glance is None or not _still_so(known, glance):
            return self._read(job_id)
        if known.job.status.terminal:
            return known
        return replace(known, position=glance.position, eta_seconds=self._now().eta(known.job, glance.position))

    def _read(self, job_id: str) -> JobView:
        view = read_view(self._installation, job_id)
        with self._lock:
            self._known[job_id] = view
            self._known.move_to_end(job_id)
            if len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
        return view

    def _now(self) -> Outlook:
        if self._outlook is None or time.monotonic() - self._outlook[0] > OUTLOOK_SECONDS:
            self._outlook = (time.monotonic(), Outlook(self._installation))
        return self._outlook[1]


def _still_so(known: JobView, glance: Glance) -> bool:
    return known.job.revision == glance.revision and len(known.outputs) == glance.outputs
