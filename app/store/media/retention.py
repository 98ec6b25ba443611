"""Forgetting: which pictures and jobs are old enough, and removing them with a trace, so that asking answers `gone`.

Looking and forgetting are apart, so that a dry run looks the same way. Both go through the past in small portions: no
transaction is long, and no look reads more of history than it removes, favourites apart.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, func, literal, select, tuple_

from app.store.db.clock import now
from app.store.db.database import Database
from app.store.db.schema import ENDED, idempotency_keys, jobs, outputs, removals
from app.store.db.upsert import insert_into

PORTION = 100


@dataclass(frozen=True)
class OldJob:
    """A picture that may go: its files, and whose it is."""

    id: str
    job_id: str
    path: str
    thumbnail_path: str
    bytes: int
    owner: str


@dataclass(frozen=True)
class Deleted:
    """What a removal really removed: somebody else may have been at it too."""

    outputs: Sequence[OldJob] = ()
    jobs: int = 0


class RetentionStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def ended_before(self, age: float) -> Iterator[list[str]]:
        """Ids of jobs that ended more than `age` seconds ago, oldest first, in portions."""
        after = 0
        while rows := self._after(after, age):
            after = rows[-1].seq
            if found := [row.id for row in rows if row.old]:
                yield found
            if rows[-1].young:  # whatever comes later was not even asked for by then
                return

    def _after(self, seq: int, age: float) -> Sequence[_JobRow]:
        """In the order they came, whatever became of them: rare endings lie too far apart to look for them alone."""
        limit = now() - age
        old = and_(ENDED, jobs.c.completed_at < limit)
        query = select(jobs.c.seq, jobs.c.id, old, jobs.c.created_at >= limit)
        with self._database.read() as connection:
            rows = connection.execute(query.where(jobs.c.seq > seq).order_by(jobs.c.seq).limit(PORTION))
            return [_JobRow(*row) for row in rows]

    def outputs_of(self, job_ids: Sequence[str]) -> list[OldJob]:
        """Their pictures, but no favourites."""
        with self._database.read() as connection:
            return _outputs(connection, outputs.c.job_id.in_(job_ids))

    def oldest_outputs(self) -> Iterator[list[OldJob]]:
        """All pictures but favourites, oldest first, in portions."""
        place = (outputs.c.created_at, outputs.c.id)
        after: tuple[float, str] = (0.0, "")
        while True:
            with self._database.read() as connection:
                query = select(*_OLD, *place).where(tuple_(*place) > tuple_(*map(literal, after)))
                rows = connection.execute(query.where(_COMMON).order_by(*place).limit(PORTION)).all()
            if not rows:
                return
            yield [OldJob(*row[: len(_OLD)]) for row in rows]
            after = (rows[-1][-2], rows[-1][-1])

    def forget(
        self, old: Sequence[OldJob], job_ids: Sequence[str], *, ended_before: float = 0.0, dry_run: bool = False
    ) -> Deleted:
        """Remove pictures, and those of the jobs that ended more than `ended_before` seconds ago and have none left.

        One transaction, which a `dry_run` takes back: so it tells exactly what would happen. What became a favourite
        meanwhile stays, and so do jobs that were put back in line.
        """
        forgotten = Deleted()
        with contextlib.suppress(_TakenBack), self._database.write(durable=not dry_run) as connection:
            forgotten = _forget(connection, [each.id for each in old], job_ids, ended_before)
            if dry_run:
                raise _TakenBack
        return forgotten

    def count_keys(self, age: float) -> int:
        """Idempotency-Keys first used more than `age` seconds ago."""
        with self._database.read() as connection:
            old = idempotency_keys.c.created_at < now() - age
            return connection.scalar(select(func.count()).select_from(idempotency_keys).where(old)) or 0

    def forget_keys(self, age: float) -> int:
        return self._delete_old(idempotency_keys, idempotency_keys.c.created_at < now() - age)

    def forget_traces(self, age: float) -> int:
        """What was removed more than `age` seconds ago answers 404 from now on, and no longer 410."""
        return self._delete_old(removals, removals.c.removed_at < now() - age)

    def _delete_old(self, table: Table, old: ColumnElement[bool]) -> int:
        with self._database.write(durable=False) as connection:
            return connection.execute(delete(table).where(old)).rowcount


@dataclass(frozen=True)
class _JobRow:
    seq: int
    id: str
    old: bool
    young: bool


class _TakenBack(Exception):
    """Rolls a dry run back."""


def _forget(connection: Connection, output_ids: Sequence[str], job_ids: Sequence[str], age: float) -> Deleted:
    found = _outputs(connection, outputs.c.id.in_(output_ids))
    connection.execute(delete(outputs).where(outputs.c.id.in_([each.id for each in found])))
    _leave_traces(connection, [(each.id, each.owner) for each in found], "output")
    has_pictures = exists().where(outputs.c.job_id == jobs.c.id)
    empty = and_(jobs.c.id.in_(job_ids), ENDED, ~has_pictures, jobs.c.completed_at <= now() - age)
    gone = [(row.id, row.client_id) for row in connection.execute(delete(jobs).where(empty).returning(*_GONE))]
    _leave_traces(connection, gone, "job")
    return Deleted(found, len(gone))


_OLD = (outputs.c.id, outputs.c.job_id, outputs.c.path, outputs.c.thumbnail_path, outputs.c.bytes, outputs.c.owner)
_GONE = (jobs.c.id, jobs.c.client_id)
_COMMON = outputs.c.favorite.is_(False)


def _outputs(connection: Connection, which: ColumnElement[bool]) -> list[OldJob]:
    return [OldJob(*row) for row in connection.execute(select(*_OLD).where(which, _COMMON))]


def _leave_traces(connection: Connection, gone: Sequence[tuple[str, str]], kind: str) -> None:
    """Of what is `gone`: its id and its owner."""
    if gone:
        trace = insert_into(removals, connection).values(kind=kind, removed_at=now()).on_conflict_do_nothing()
        connection.execute(trace, [{"id": each, "owner": owner} for each, owner in gone])
