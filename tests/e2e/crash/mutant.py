"""The store without its fence: whoever thinks that a job is his may end it. A crash test must find that out."""

from __future__ import annotations

import sys

from sqlalchemy import bindparam


def take_out_the_fence() -> None:
    """Call it before anything else of the project is imported: the statements are built once."""
    assert "app.store.queue.claims" not in sys.modules, "too late: the fence is built in"
    from app.store.db.schema import jobs
    from app.store.queue import fence

    fence.OWNED = jobs.c.id == bindparam("own_job")
    fence.fence = lambda claim: {"own_job": claim.job_id}

    from app.store.queue import claims

    assert "worker_id" not in str(claims._LOOK), "the fence stands elsewhere now"
