"""The fence: the condition in the WHERE of every write by a worker."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam

from app.core.job import Claim
from app.store.db.schema import PROCESSING, jobs

OWNED = and_(
    jobs.c.id == bindparam("own_job"),
    PROCESSING,
    jobs.c.worker_id == bindparam("own_worker"),
    jobs.c.attempt == bindparam("own_attempt"),
)


def fence(claim: Claim) -> dict[str, Any]:
    """The parameters of OWNED."""
    return {"own_job": claim.job_id, "own_worker": claim.worker_id, "own_attempt": claim.attempt}
