"""The classes of jobs that wait (`core.needs`), and the first job of each: what a worker chooses from that cannot run
every job.

Their number is that of the different models and files asked for, not that of the jobs: the index is entered once for
each class and left again, however many jobs it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select

from app.core.assignment import Deference, Judge, patience
from app.core.catalog import Lane
from app.core.lru_cache import LRUCache
from app.core.needs import Needs, needs_of
from app.core.scheduling import Candidate, Patience
from app.store.db.prepared import Prepared
from app.store.db.schema import PENDING, QUEUE_ORDER, job_class, jobs
from app.store.queue.next_job import AVAILABLE, CANDIDATE, bound_for
from app.store.queue.rows import REQUEST_COLUMNS, request_from_row

_AT_A_TIME = 500  # databases bound the parameters of a statement
_KNOWN = 65_536  # classes whose needs are remembered

_in_lane = (PENDING, jobs.c.lane == bindparam("lane"))
_in_order = select(job_class.label("class_")).where(*_in_lane).order_by(job_class).limit(1)
_classes = select(_in_order.scalar_subquery().label("class_")).cte("classes", recursive=True)
_next = select(job_class).where(*_in_lane, job_class > _classes.c.class_).order_by(job_class).limit(1)
_classes = _classes.union_all(select(_next.correlate(_classes).scalar_subquery()).where(_classes.c.class_.is_not(None)))
_head = (
    select(jobs.c.seq)
    .where(*_in_lane, job_class == _classes.c.class_, AVAILABLE)
    .order_by(*QUEUE_ORDER)
    .limit(1)
    .correlate(_classes)
)
_HEADS = Prepared(select(_head.scalar_subquery()).where(_classes.c.class_.is_not(None)))
_REQUESTS = select(jobs.c.needs, *REQUEST_COLUMNS)


class WaitingClasses:
    """Remembers what the classes need, which never changes."""

    def __init__(self) -> None:
        self._needs = LRUCache[str, Needs](_KNOWN)

    def needs(self, connection: Connection, candidate: Candidate) -> Needs:
        """What a job needs; of a job of an earlier version its model."""
        if candidate.needs is None:
            return Needs(candidate.model_id)
        if self._needs.get(candidate.needs) is None:
            self.learn(connection, [candidate])
        return self._needs.get(candidate.needs) or Needs(candidate.model_id)  # removed meanwhile: none can claim it

    def learn(self, connection: Connection, candidates: Sequence[Candidate]) -> None:
        """Read what these need, as far as it is not known."""
        unknown = [each.job_id for each in candidates if each.needs is not None and self._needs.get(each.needs) is None]
        for start in range(0, len(unknown), _AT_A_TIME):
            rows: Sequence[Any] = connection.execute(
                _REQUESTS.where(jobs.c.id.in_(unknown[start : start + _AT_A_TIME]))
            ).all()
            for row in rows:
                self._needs.put(row.needs, needs_of(request_from_row(row)))

    def patience(self, connection: Connection, lane: Lane, judge: Judge) -> Patience:
        """For `scheduling.select`: the judgement of a worker, for jobs as they wait in the queue."""
        bound, judged = bound_for(connection), dict[str, Deference | None]()

        def seconds(candidate: Candidate) -> float | None:
            if lane == "remote" and candidate.needs is None:  # of an earlier version, which did not say of whom
                return 0.0
            key = candidate.needs or candidate.model_id
            if key not in judged:
                judged[key] = judge(self.needs(connection, candidate))
            found = judged[key]
            return 0.0 if found == "none" else None if found is None else patience(found, bound(candidate.model_id))

        return seconds


def heads(connection: Connection, lane: Lane) -> Sequence[Candidate]:
    """The first job of each class that may be claimed now."""
    seqs = [row[0] for row in _HEADS.rows(connection, {"lane": lane}) if row[0] is not None]
    found: list[Candidate] = []
    for start in range(0, len(seqs), _AT_A_TIME):
        some = seqs[start : start + _AT_A_TIME]
        rows = connection.execute(select(*CANDIDATE).where(jobs.c.seq.in_(some), PENDING))
        found += [Candidate(*row) for row in rows]
    return found
