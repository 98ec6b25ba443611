"""What keeps the place in order by itself: rescue jobs of dead workers, clean up, look after the database and memory.

Every worker and the API run it, so that it works whichever of them lives; of the slower chores each is done by one of
them at a time. Each chore is idempotent.
"""

from __future__ import annotations

import logging
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import DatabaseUnavailable
from app.monitoring.resources import memory_percent
from app.services.context import AppContext
from app.services.ops.cleanup import clean_up
from app.store.db.vacuum import vacuum_and_analyze
from app.store.ops.periodic_tasks import PeriodicTaskStore

RESCUE_EVERY_SECONDS = 3.0
CLEAN_EVERY_SECONDS = 600.0
DATABASE_EVERY_SECONDS = 6 * 3600.0
MEMORY_ALERT_EVERY_SECONDS = 600.0

log = logging.getLogger("cyberimage.maintenance")


def rescue(context: AppContext) -> int:
    """Give jobs whose worker is silent to somebody else, or fail them. Returns how many there were."""
    rows = context.claims.rescue()
    for row in rows:
        log.warning(
            "Rescued after attempt %s (%s): now %s", row.attempt, row.error_code, row.status, extra={"job_id": row.id}
        )
        context.notifications.ring("news", row.id)
    if rows:
        context.notifications.ring("work")
    return len(rows)


@contextmanager
def _excused() -> Iterator[None]:
    """What is out of reach now will be there the next time."""
    try:
        yield
    except (DatabaseUnavailable, OSError) as error:
        log.error("Maintenance could not finish (%s); it will try again.", error)


class Maintenance(threading.Thread):
    """The chores, on their own thread, until the process ends. The rescue has another one to itself: it must come in
    time however long a cleaning takes, and even when one breaks."""

    def __init__(self, context: AppContext) -> None:
        super().__init__(name="maintenance", daemon=True)
        self._context = context
        self._periodic_tasks = PeriodicTaskStore(context.database)
        self._stopping = threading.Event()
        self._rescuer = threading.Thread(target=self._keep_rescuing, name="rescue", daemon=True)

    def start(self) -> None:
        self._rescuer.start()
        super().start()

    def run(self) -> None:
        while not self._stopping.wait(RESCUE_EVERY_SECONDS):  # the start of a process is no time for chores
            with _excused():
                self._watch_memory()
                if self._periodic_tasks.take("clean up", CLEAN_EVERY_SECONDS):
                    self._clean_up()
                if self._periodic_tasks.take("database", DATABASE_EVERY_SECONDS):
                    vacuum_and_analyze(self._context.database)

    def stop(self) -> None:
        self._stopping.set()

    def join(self, timeout: float | None = None) -> None:
        super().join(timeout)
        self._rescuer.join(timeout)

    def _keep_rescuing(self) -> None:
        while True:
            with _excused():
                rescue(self._context)
            if self._stopping.wait(RESCUE_EVERY_SECONDS):
                return

    def _clean_up(self) -> None:
        clean_up(self._context)
        self._context.workers.forget_dead()
        self._context.previews.forget_ended()
        self._context.database.checkpoint()

    def _watch_memory(self) -> None:
        """Warn while RAM is short: once in a while, and once per machine."""
        limit, used = self._context.settings.memory_alert_percent, memory_percent()
        name = f"memory alert {platform.node()}"[:64]
        if limit and used >= limit and self._periodic_tasks.take(name, MEMORY_ALERT_EVERY_SECONDS):
            log.warning("%.0f %% of the memory is in use (MEMORY_ALERT_PERCENT is %g)", used, limit)
