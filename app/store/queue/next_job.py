"""Order of the queue: the turn of a new job, the next job of a worker, and the jobs that may be merged with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from sqlalchemy import Connection, and_, bindparam, case, func, or_, select, update

from app.core.catalog import Lane
from app.core.job import Claim
from app.core.scheduling import Candidate, Patience, affinity_bound, call_of, choose, next_turn
from app.store.db.database import now
from app.store.db.prepared import Prepared
from app.store.db.schema import PENDING, QUEUE_ORDER, job_class, jobs
from app.store.queue.durations import load_seconds

AVAILABLE = or_(jobs.c.available_at.is_(None), jobs.c.available_at <= now())  # not waiting after a failure

CANDIDATE = (
    jobs.c.id,
    jobs.c.model_id,
    jobs.c.priority,
    jobs.c.turn,
    jobs.c.seq,
    case((jobs.c.overtaken_at.is_(None), 0.0), else_=now() - jobs.c.overtaken_at),
    jobs.c.needs,
)
_HEAD = (
    select(*CANDIDATE)
    .where(PENDING, jobs.c.lane == bindparam("lane"), AVAILABLE)
    .order_by(*QUEUE_ORDER)
    .limit(1)
    .with_for_update(skip_locked=True)  # PostgreSQL; in SQLite writers are exclusive already
)
_FIRST, _FIRST_OF_MODEL = Prepared(_HEAD), Prepared(_HEAD.where(jobs.c.model_id == bindparam("model")))
_FIRST_OF_CLASS = Prepared(_HEAD.where(job_class == bindparam("class_")))
_PENDING_JOB = select(*CANDIDATE).where(PENDING, jobs.c.lane == bindparam("lane"), AVAILABLE).order_by(*QUEUE_ORDER)
_PEEK = Prepared(_PENDING_JOB.limit(1))


class NotInOrder(Exception):
    """The first job of the queue, or of a loaded model, is not for this worker: look at each class."""


def pick_next(
    connection: Connection, loaded: Collection[str], lane: Lane, patience: Patience | None = None
) -> str | None:
    """The id of the job of `lane` to run on a worker that has the models `loaded`; None if none is available. It is the
    first in the queue, or the first of a loaded model. Raises NotInOrder if `patience` (`scheduling.select`) refuses
    one of them."""
    head = _first(connection, lane, None)
    if head is None:
        return None
    _refuse_others(head, patience)
    if not loaded or head.model_id in loaded:
        return head.job_id
    warm = _first_of(connection, lane, loaded)
    if warm is not None:
        _refuse_others(warm, patience)
    chosen = choose(head, warm, loaded, bound_for(connection)(head.model_id))
    if chosen is not head:
        mark_overtaken(connection, [head])
    return chosen.job_id


def _refuse_others(candidate: Candidate, patience: Patience | None) -> None:
    seconds = 0.0 if patience is None else patience(candidate)
    if seconds is None or 0 <= candidate.overtaken_for < seconds:
        raise NotInOrder


def peek(connection: Connection, lane: Lane) -> Candidate | None:
    """The first job in the queue of `lane` that may be claimed now, without a lock."""
    row = _PEEK.first(connection, {"lane": lane})
    return None if row is None else Candidate(*row)


def first_of_class(connection: Connection, lane: Lane, class_: str) -> Candidate | None:
    """The first job of a class, locked on PostgreSQL; None if others have taken all."""
    row = _FIRST_OF_CLASS.first(connection, {"lane": lane, "class_": class_})
    return None if row is None else Candidate(*row)


def mark_overtaken(connection: Connection, passed: Iterable[Candidate]) -> None:
    """Note since when jobs have been passed over, if they were not before."""
    for candidate in passed:
        connection.execute(
            update(jobs).where(jobs.c.id == candidate.job_id, jobs.c.overtaken_at.is_(None)).values(overtaken_at=now())
        )


def bound_for(connection: Connection) -> Callable[[str], float]:
    """For how long a job of a model may be overtaken. Each is read once."""
    known: dict[str, float] = {}

    def bound(model_id: str) -> float:
        if model_id not in known:
            known[model_id] = affinity_bound(load_seconds(connection, model_id))
        return known[model_id]

    return bound


def _first_of(connection: Connection, lane: Lane, models: Collection[str]) -> Candidate | None:
    """The first job of any of `models`. One query for each: with several in one IN, the database would have to sort
    all their pending jobs; and without those of a model left out, it would scan them."""
    waiting = [found for model in sorted(models) if (found := _first(connection, lane, model)) is not None]
    return min(waiting, key=lambda candidate: candidate.place, default=None)


def _first(connection: Connection, lane: Lane, model: str | None) -> Candidate | None:
    wanted = {"lane": lane} if model is None else {"lane": lane, "model": model}
    row = (_FIRST if model is None else _FIRST_OF_MODEL).first(connection, wanted)
    return None if row is None else Candidate(*row)


_line = select(jobs.c.turn).where(PENDING, jobs.c.lane == bindparam("lane"), jobs.c.priority == bindparam("priority"))
_own = _line.where(jobs.c.client_id == bindparam("client")).order_by(jobs.c.turn.desc()).limit(1)
_serving = _line.where(jobs.c.attempt == 0).order_by(jobs.c.turn, jobs.c.seq).limit(1)
_newest = select(func.max(jobs.c.seq))
_TURNS = Prepared(select(_own.scalar_subquery(), _serving.scalar_subquery(), _newest.scalar_subquery()))


# On PostgreSQL two jobs of one client that are enqueued at the same moment may get the same turn; `seq` still orders
# them. A lock would make each enqueue wait for the other's commit, for a difference of one place.
def turn_for(connection: Connection, client_id: str, priority: int, lane: Lane) -> int:
    place = {"client": client_id, "priority": priority, "lane": lane}
    own, serving, newest = _TURNS.first(connection, place)
    return next_turn(own, serving, newest or 0)


LOOK_AHEAD = 64  # of the jobs with the same model and priority: the query's cost does not grow with the queue

# First attempts only: after a crash each job runs alone, so a job that crashes its worker affects the merged ones
# only once. And only jobs that have another attempt left.
MERGEABLE = and_(PENDING, jobs.c.attempt == 0, jobs.c.max_attempts > 1, jobs.c.available_at.is_(None))

_claimed = jobs.alias()
_NEXT = (
    select(jobs.c.id, jobs.c.negative_prompt.is_(None).label("no_negative"), jobs.c.settings)
    .where(
        MERGEABLE,
        jobs.c.model_id == bindparam("model"),
        jobs.c.lane == "local",
        jobs.c.priority == select(_claimed.c.priority).where(_claimed.c.id == bindparam("first")).scalar_subquery(),
    )
    .order_by(jobs.c.turn, jobs.c.seq)
    .limit(LOOK_AHEAD)
)


def to_merge(connection: Connection, first: Claim, most: int) -> Sequence[str]:
    """The ids of up to `most` jobs that can be merged with `first`, in queue order. Claims none: see
    `ClaimStore.claim_to_merge`.

    Jobs with and without a negative prompt are not mixed: SDXL treats none differently from an empty one.
    """
    request = first.request
    wanted = call_of(request.stored()), request.negative_prompt is None
    rows = connection.execute(_NEXT, {"model": request.model_id, "first": first.job_id})
    return [row.id for row in rows if (call_of(row.settings), bool(row.no_negative)) == wanted][:most]
