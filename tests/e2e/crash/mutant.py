"""Mutation test: removes the store's fence, so that former owners can end jobs. The crash test must detect it."""

from __future__ import annotations

import sys

from sqlalchemy import bindparam


def remove_fence() -> None:
    """Call it before anything else of the project is imported: the statements are built at import."""
    assert "app.store.queue.claims" not in sys.modules, "too late: the statements are built already"
    from app.store.db.schema import jobs
    from app.store.queue import rows

    rows.OWNED = jobs.c.id == bindparam("own_job")
    rows.fence = lambda claim: {"own_job": claim.job_id}

    from app.store.queue import claims

    assert "worker_id" not in str(claims._CHECK), "the fence is defined elsewhere now"
