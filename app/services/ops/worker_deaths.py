"""Records the death of a worker that its supervisor saw, and has its jobs run again."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from app.config import Settings
from app.core.deaths import Death
from app.errors import DatabaseUnavailable
from app.services.context import AppContext, open_context

RETRY_SECONDS = 1.0

log = logging.getLogger("cyberimage.supervisor")


def record_death(settings: Settings, worker_id: str, death: Death) -> None:
    """Record it; while the database is away, try again until the worker's leases have expired anyway.

    Raises ConfigurationError."""
    give_up_at = time.monotonic() + settings.lease_seconds
    while True:
        try:
            return _record(settings, worker_id, death)
        except DatabaseUnavailable as error:
            if time.monotonic() >= give_up_at:
                log.error("The death of the worker %s could not be recorded: %s", worker_id, error.detail)
                return None
        time.sleep(RETRY_SECONDS)


def _record(settings: Settings, worker_id: str, death: Death) -> None:
    context = open_context(settings)
    try:
        _announce(context, context.deaths.record(worker_id, death))
    finally:
        context.close()


def _announce(context: AppContext, freed: Sequence[Any]) -> None:
    for row in freed:
        log.warning("The worker died, attempt %s: now %s", row.attempt, row.status, extra={"job_id": row.id})
        context.notifications.publish("news", row.id)
    if freed:
        context.notifications.publish("work")
