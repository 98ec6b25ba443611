"""Waiting jobs that can be merged into one call with a job just claimed.

Only the next LOOK_AHEAD jobs of the model with the same priority are considered: so the query costs the same however
long the queue is, and no job is moved forward from far behind. Only first attempts: after a crash each job runs alone,
so that a job that crashes its worker affects others only once. And only jobs that have another attempt left.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, and_, bindparam, select

from app.core.job import Claim
from app.core.merging import call_of
from app.store.db.schema import PENDING, jobs

LOOK_AHEAD = 64

MERGEABLE = and_(PENDING, jobs.c.attempt == 0, jobs.c.max_attempts > 1, jobs.c.available_at.is_(None))

_first = jobs.alias()
_NEXT = (
    select(jobs.c.id, jobs.c.negative_prompt.is_(None).label("no_negative"), jobs.c.settings)
    .where(
        MERGEABLE,
        jobs.c.model_id == bindparam("model"),
        jobs.c.lane == "local",
        jobs.c.priority == select(_first.c.priority).where(_first.c.id == bindparam("first")).scalar_subquery(),
    )
    .order_by(jobs.c.turn, jobs.c.seq)
    .limit(LOOK_AHEAD)
)


def batchable(connection: Connection, first: Claim, most: int) -> Sequence[str]:
    """The ids of up to `most` such jobs, in queue order. Claims none: see `ClaimStore.claim_batch`.

    Jobs with and without a negative prompt are not mixed: SDXL treats none differently from an empty one.
    """
    request = first.request
    wanted = call_of(request.stored()), request.negative_prompt is None
    rows = connection.execute(_NEXT, {"model": request.model_id, "first": first.job_id})
    return [row.id for row in rows if (call_of(row.settings), bool(row.no_negative)) == wanted][:most]
