"""Waiting times cut to fractions of a second, for the processes of a crash test: much happens in little time.

Nothing else about them differs from production.
"""

from __future__ import annotations

import os

ORPHAN_AGE_SECONDS = 10.0  # longer than anything here is ever frozen


def hurry() -> None:
    """Call it before anything else of the project is imported."""
    os.environ["CLEANUP_INTERVAL_SECONDS"] = "4"
    from app.core import job
    from app.process import parent_watch

    parent_watch.LAST_CHANCE_SECONDS = 1.0
    job.STOP_GRACE_SECONDS = 1.0

    from app.core.backoff import Backoff
    from app.services.media import publish
    from app.services.ops import maintenance, orphans
    from app.store.queue import lease_expiry
    from app.worker import finalizer, storage_pause

    lease_expiry.BACKOFF_SECONDS = 0.1
    finalizer.BACKOFF_SECONDS = 0.1
    publish.TRY_AGAIN_SECONDS = 0.1
    storage_pause.PAUSE = Backoff(first=0.1, longest=0.5)
    maintenance.EXPIRE_EVERY_SECONDS = 0.4
    orphans.ORPHAN_AGE_SECONDS = ORPHAN_AGE_SECONDS
