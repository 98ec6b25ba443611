"""Background maintenance: expire leases of dead workers, tell how batches progress, clean up, vacuum, watch memory.

Every worker and the API run it, so any one live process is enough; each of the slower tasks runs in one process at a
time. All tasks are idempotent.
"""

from __future__ import annotations

import logging
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import DatabaseUnavailable, MediaUnavailable
from app.monitoring.fault_log import database_faults
from app.monitoring.resources import memory_percent
from app.process.threads import BackgroundThread
from app.services.batches.life import keep_up
from app.services.context import AppContext
from app.services.ops.cleanup import clean_up
from app.store.db.vacuum import vacuum_and_analyze

EXPIRE_EVERY_SECONDS = 3.0
DATABASE_EVERY_SECONDS = 6 * 3600.0
MEMORY_ALERT_EVERY_SECONDS = 600.0

log = logging.getLogger("cyberimage.maintenance")


def expire_leases(context: AppContext) -> int:
    """Return jobs with an expired lease to the queue, or fail them. Returns how many there were."""
    rows = context.claims.expire_leases()
    for row in rows:
        log.warning(
            "Lease expired, attempt %s (%s): now %s", row.attempt, row.error_code, row.status, extra={"job_id": row.id}
        )
        context.notifications.publish("news", row.id)
    if rows:
        context.notifications.publish("work")
    return len(rows)


@contextmanager
def _retry_next_time() -> Iterator[None]:
    """Logs failures of the database and file system; the task runs again at its next turn."""
    try:
        yield
    except DatabaseUnavailable as error:
        database_faults.add(log, logging.ERROR, "Maintenance could not finish (%s); it will try again.", error)
    except (MediaUnavailable, OSError) as error:
        log.error("Maintenance could not finish (%s); it will try again.", error)


class Maintenance(threading.Thread):
    """Runs the periodic tasks on its thread until the process ends. Leases expire on another thread: in time however
    long a clean-up takes, and even if one fails: a mistake in a clean-up ends this thread only, not the process."""

    def __init__(self, context: AppContext) -> None:
        super().__init__(name="maintenance", daemon=True)
        self._context = context
        self._periodic_tasks = context.periodic_tasks
        self._stopping = threading.Event()
        self._lease_thread = BackgroundThread("lease-expiry", self._expire_leases)

    def start(self) -> None:
        self._lease_thread.start()
        super().start()

    def run(self) -> None:
        while not self._stopping.wait(EXPIRE_EVERY_SECONDS):  # first run after the process has started
            with _retry_next_time():
                self._watch_memory()
                keep_up(self._context)
                if self._periodic_tasks.take("clean up", self._context.settings.cleanup_interval_seconds):
                    self._clean_up()
                if self._periodic_tasks.take("database", DATABASE_EVERY_SECONDS):
                    vacuum_and_analyze(self._context.database)

    def stop(self) -> None:
        self._stopping.set()

    def join(self, timeout: float | None = None) -> None:
        super().join(timeout)
        self._lease_thread.join(timeout)

    def _expire_leases(self) -> None:
        while True:
            with _retry_next_time():
                expire_leases(self._context)
            if self._stopping.wait(EXPIRE_EVERY_SECONDS):
                return

    def _clean_up(self) -> None:
        clean_up(self._context)
        self._context.workers.delete_dead()
        self._context.previews.delete_ended()
        self._context.database.checkpoint()

    def _watch_memory(self) -> None:
        """Warn while RAM is short, at most once per interval and machine."""
        limit, used = self._context.settings.memory_alert_percent, memory_percent()
        name = f"memory alert {platform.node()}"[:64]
        if limit and used >= limit and self._periodic_tasks.take(name, MEMORY_ALERT_EVERY_SECONDS):
            log.warning("%.0f %% of the memory is in use (MEMORY_ALERT_PERCENT is %g)", used, limit)
