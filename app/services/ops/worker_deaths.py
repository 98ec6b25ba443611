"""Records the death of a worker that its supervisor saw, and has its jobs run again."""

from __future__ import annotations

import logging
import time

from app.config import Settings
from app.core.deaths import Death
from app.errors import DatabaseUnavailable
from app.store.db.database import Database
from app.store.db.notify import open_notifier
from app.store.queue.deaths import DeathStore

RETRY_SECONDS = 1.0

log = logging.getLogger("cyberimage.supervisor")


def record_death(settings: Settings, worker_id: str, death: Death) -> int:
    """Record it, trying again until the worker's leases have expired anyway. Returns how many jobs were freed."""
    database = Database(settings.database_url)
    give_up_at = time.monotonic() + settings.lease_seconds
    try:
        while True:
            try:
                freed = DeathStore(database).record(worker_id, death)
                break
            except DatabaseUnavailable as error:
                if time.monotonic() >= give_up_at:
                    log.error("The death of worker %s could not be recorded: %s", worker_id, error.detail)
                    return 0
                time.sleep(RETRY_SECONDS)
        notifications = open_notifier(database.url)
        for row in freed:
            log.warning("The worker died, attempt %s: now %s", row.attempt, row.status, extra={"job_id": row.id})
            notifications.publish("news", row.id)
        if freed:
            notifications.publish("work")
        return len(freed)
    finally:
        database.close()
