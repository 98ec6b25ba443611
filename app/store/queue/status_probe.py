"""Precompiled query returning revision, queue position and output count, used to validate the status cache."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, bindparam, case, func, literal_column, or_, select

from app.store.db.database import Database
from app.store.db.schema import IN_GALLERY, PENDING, jobs, outputs


@dataclass(frozen=True)
class StatusProbe:
    """What validates a cached status. `position` is None unless the job is pending."""

    revision: int
    position: int | None
    outputs: int


class StatusProbeStore:
    def __init__(self, database: Database) -> None:
        self._database = database
        compiled = _PROBE.compile(dialect=database.engine.dialect)
        self._sql = compiled.string
        self._one_parameter = (lambda job_id: (job_id,)) if compiled.positional else (lambda job_id: {"job_id": job_id})

    def probe(self, job_id: str) -> StatusProbe | None:
        """None if there is no such job."""
        row = self._database.fetch_one(self._sql, self._one_parameter(job_id))
        return None if row is None else StatusProbe(*row)


_other = jobs.alias("other")
_earlier_turn = or_(_other.c.turn < jobs.c.turn, and_(_other.c.turn == jobs.c.turn, _other.c.seq < jobs.c.seq))
_ahead = or_(_other.c.priority > jobs.c.priority, and_(_other.c.priority == jobs.c.priority, _earlier_turn))
# The status as a literal, so that the partial index of pending jobs applies (see schema.py).
_waits = and_(_other.c.status == literal_column("'PENDING'"), _other.c.lane == jobs.c.lane)
_before = select(func.count()).select_from(_other).where(_waits, _ahead)
_made = select(func.count()).select_from(outputs).where(outputs.c.job_id == jobs.c.id, IN_GALLERY)

# Compiled once: building and compiling a statement costs more than running this one.
_PROBE = select(
    jobs.c.revision,
    case((PENDING, literal_column("1") + _before.correlate(jobs).scalar_subquery())),
    _made.correlate(jobs).scalar_subquery(),
).where(jobs.c.id == bindparam("job_id"))
