"""What keeps the place in order by itself: rescue jobs of dead workers, clean up, look after the database and memory.

Every worker and the API run it, so that it works whichever of them lives; of the slower chores each is done by one of
them at a time. Each chore is idempotent.
"""

from __future__ import annotations

import logging
import platform
import threading

from app.errors import DatabaseUnavailable
from app.monitoring.resources import memory_percent
from app.services.cleanup import clean_up
from app.services.installation import Installation
from app.store.chores import ChoreStore
from app.store.upkeep import look_after

RESCUE_EVERY_SECONDS = 3.0
CLEAN_EVERY_SECONDS = 600.0
DATABASE_EVERY_SECONDS = 6 * 3600.0
MEMORY_ALERT_EVERY_SECONDS = 600.0

log = logging.getLogger("cyberimage.maintenance")


def rescue(installation: Installation) -> int:
    """Give jobs whose worker is silent to somebody else, or fail them. Returns how many there were."""
    rows = installation.claims.rescue()
    for row in rows:
        log.warning(
            "Rescued after attempt %s (%s): now %s", row.attempt, row.error_code, row.status, extra={"job_id": row.id}
        )
        installation.bell.ring("news", row.id)
    if rows:
        installation.bell.ring("work")
    return len(rows)


class Maintenance(threading.Thread):
    """The chores, on their own thread, until the process ends."""

    def __init__(self, installation: Installation) -> None:
        super().__init__(name="maintenance", daemon=True)
        self._installation = installation
        self._chores = ChoreStore(installation.database)
        self._stopping = threading.Event()

    def run(self) -> None:
        self._once(rescue_only=True)  # the start of a process is no time for more
        while not self._stopping.wait(RESCUE_EVERY_SECONDS):
            self._once()

    def stop(self) -> None:
        self._stopping.set()

    def _once(self, *, rescue_only: bool = False) -> None:
        try:
            rescue(self._installation)
            if not rescue_only:
                self._watch_memory()
                if self._chores.take("clean up", CLEAN_EVERY_SECONDS):
                    self._clean_up()
                if self._chores.take("database", DATABASE_EVERY_SECONDS):
                    look_after(self._installation.database)
        except (DatabaseUnavailable, OSError) as error:
            log.error("Maintenance could not finish (%s); it will try again.", error)

    def _clean_up(self) -> None:
        clean_up(self._installation)
        self._installation.workers.forget_dead()
        self._installation.previews.forget_ended()
        self._installation.database.checkpoint()

    def _watch_memory(self) -> None:
        """Warn while RAM is short: once in a while, and once per machine."""
        limit, used = self._installation.settings.memory_alert_percent, memory_percent()
        name = f"memory alert {platform.node()}"[:64]
        if limit and used >= limit and self._chores.take(name, MEMORY_ALERT_EVERY_SECONDS):
            log.warning("%.0f %% of the memory is in use (MEMORY_ALERT_PERCENT is %g)", used, limit)
