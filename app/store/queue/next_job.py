"""Selects the next job for a worker: queries what `app.core.scheduling.choose` needs, in the claim's transaction."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, case, or_, select, update

from app.core.catalog import Lane
from app.core.scheduling import Candidate, affinity_bound, choose
from app.store.db.clock import now
from app.store.db.schema import PENDING, QUEUE_ORDER, jobs
from app.store.queue.durations import load_seconds

AVAILABLE = or_(jobs.c.available_at.is_(None), jobs.c.available_at <= now())  # not waiting after a failure

_HEAD = (
    select(
        jobs.c.id,
        jobs.c.model_id,
        jobs.c.priority,
        jobs.c.turn,
        jobs.c.seq,
        case((jobs.c.overtaken_at.is_(None), 0.0), else_=now() - jobs.c.overtaken_at),
    )
    .where(PENDING, jobs.c.lane == bindparam("lane"), AVAILABLE)
    .order_by(*QUEUE_ORDER)
    .limit(1)
    .with_for_update(skip_locked=True)  # PostgreSQL; in SQLite writers are exclusive already
)
# One model at a time: with several in one IN, the database would have to sort all their pending jobs.
_WARM = _HEAD.where(jobs.c.model_id == bindparam("model"))


def pick_next(connection: Connection, loaded: Collection[str], lane: Lane) -> str | None:
    """The id of the job of `lane` to run on a worker that has the models `loaded`; None if none is available."""
    head = _first(connection, lane, None)
    if head is None:
        return None
    if not loaded or head.model_id in loaded:
        return head.job_id
    waiting = [found for model in sorted(loaded) if (found := _first(connection, lane, model)) is not None]
    warm = min(waiting, key=lambda candidate: candidate.place, default=None)
    chosen = choose(head, warm, loaded, affinity_bound(load_seconds(connection, head.model_id)))
    if chosen is not head:
        connection.execute(
            update(jobs).where(jobs.c.id == head.job_id, jobs.c.overtaken_at.is_(None)).values(overtaken_at=now())
        )
    return chosen.job_id


def _first(connection: Connection, lane: Lane, model: str | None) -> Candidate | None:
    wanted = {"lane": lane} if model is None else {"lane": lane, "model": model}
    row = connection.execute(_HEAD if model is None else _WARM, wanted).one_or_none()
    return None if row is None else Candidate(*row)
