"""Retention: finds old pictures and jobs, and deletes them with a removal record, so that requests answer `gone`.
Favourites stay, unless they lie in the bin.

Finding and deleting are separate, so that a dry run finds the same. Both work in small portions: no transaction is
long, and no query reads more of history than is deleted, apart from favourites.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Table,
    and_,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    tuple_,
)

from app.store.db.database import Database, now
from app.store.db.schema import (
    ENDED,
    IN_BIN,
    IN_GALLERY,
    batch_tallies,
    batches,
    idempotency_keys,
    jobs,
    outputs,
    removals,
)
from app.store.db.upsert import insert_into

PORTION = 100


@dataclass(frozen=True)
class OldOutput:
    """A picture that may be removed, with its files and owner."""

    id: str
    job_id: str
    path: str
    thumbnail_path: str
    bytes: int
    owner: str


@dataclass(frozen=True)
class Deleted:
    """What was actually removed: another process may have removed some."""

    outputs: Sequence[OldOutput] = ()
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
            if rows[-1].young:  # all later jobs are younger still
                return

    def _after(self, seq: int, age: float) -> Sequence[_JobRow]:
        """Jobs after `seq`, in any state: filtering by rare states would read too much of the table."""
        limit = now() - age
        # A batch goes as one: when its last job is old enough.
        ended = select(batches.c.id).where(batches.c.id == jobs.c.batch_id, batches.c.ended_at < limit)
        whole = or_(jobs.c.batch_id.is_(None), ended.correlate(jobs).exists())
        old = and_(ENDED, jobs.c.completed_at < limit, whole)
        query = select(jobs.c.seq, jobs.c.id, old, jobs.c.created_at >= limit)
        with self._database.read() as connection:
            rows = connection.execute(query.where(jobs.c.seq > seq).order_by(jobs.c.seq).limit(PORTION))
            return [_JobRow(*row) for row in rows]

    def outputs_of(self, job_ids: Sequence[str]) -> list[OldOutput]:
        """The pictures of these jobs, except favourites and those in the bin, which has a time of its own."""
        with self._database.read() as connection:
            return _outputs(connection, outputs.c.job_id.in_(job_ids), _COMMON)

    def oldest_outputs(self) -> Iterator[list[OldOutput]]:
        """All pictures that are not in the bin, except favourites, oldest first, in portions."""
        return self._portions((outputs.c.created_at, outputs.c.id), IN_GALLERY, outputs.c.favorite.is_(False))

    def binned(self, age: float = 0.0) -> Iterator[list[OldOutput]]:
        """Pictures that were put into the bin `age` seconds ago or earlier, first deleted first, in portions."""
        return self._portions((outputs.c.deleted_at, outputs.c.id), IN_BIN, outputs.c.deleted_at <= now() - age)

    def in_bin(self, ids: Sequence[str]) -> list[OldOutput]:
        """Those of these pictures that lie in the bin."""
        with self._database.read() as connection:
            return _outputs(connection, outputs.c.id.in_(ids), IN_BIN)

    def _portions(
        self, place: tuple[Column[float], Column[str]], *which: ColumnElement[bool]
    ) -> Iterator[list[OldOutput]]:
        after: tuple[float, str] = (0.0, "")
        while True:
            with self._database.read() as connection:
                query = select(*_OLD, *place).where(tuple_(*place) > tuple_(*map(literal, after)))
                rows = connection.execute(query.where(*which).order_by(*place).limit(PORTION)).all()
            if not rows:
                return
            yield [OldOutput(*row[: len(_OLD)]) for row in rows]
            after = (rows[-1][-2], rows[-1][-1])

    def delete(
        self,
        old: Sequence[OldOutput],
        job_ids: Sequence[str],
        *,
        ended_before: float = 0.0,
        dry_run: bool = False,
        binned: bool = False,
    ) -> Deleted:
        """Delete pictures, and those of the jobs that ended more than `ended_before` seconds ago and have none left.

        In one transaction, which a `dry_run` rolls back: so it reports exactly what would happen. New favourites and
        retried jobs are kept; pictures that were `binned` too, if they were restored since.
        """
        deleted = Deleted()
        with contextlib.suppress(_RolledBack), self._database.write(durable=not dry_run) as connection:
            found = _outputs(connection, outputs.c.id.in_([each.id for each in old]), IN_BIN if binned else _COMMON)
            deleted = _delete(connection, found, job_ids, ended_before)
            if dry_run:
                raise _RolledBack
        return deleted

    def delete_batches(self, age: float) -> int:
        """Delete batches that ended more than `age` seconds ago and have no job left. Returns how many."""
        with self._database.write(durable=False) as connection:
            has_jobs = exists().where(jobs.c.batch_id == batches.c.id)
            empty = and_(batches.c.ended_at < now() - age, ~has_jobs)
            gone = [
                (row.id, row.owner) for row in connection.execute(delete(batches).where(empty).returning(*_GONE_BATCH))
            ]
            for batch_id, _ in gone:
                connection.execute(delete(batch_tallies).where(batch_tallies.c.batch_id == batch_id))
            _record_removals(connection, gone, "batch")
            return len(gone)

    def count_keys(self, age: float) -> int:
        """The number of Idempotency-Keys first used more than `age` seconds ago."""
        with self._database.read() as connection:
            old = idempotency_keys.c.created_at < now() - age
            return connection.scalar(select(func.count()).select_from(idempotency_keys).where(old)) or 0

    def delete_keys(self, age: float) -> int:
        return self._delete_old(idempotency_keys, idempotency_keys.c.created_at < now() - age)

    def delete_removals(self, age: float) -> int:
        """Delete removal records older than `age` seconds: requests for those ids answer 404 instead of 410 then."""
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


class _RolledBack(Exception):
    """Rolls back a dry run."""


def _delete(connection: Connection, found: Sequence[OldOutput], job_ids: Sequence[str], age: float) -> Deleted:
    connection.execute(delete(outputs).where(outputs.c.id.in_([each.id for each in found])))
    _record_removals(connection, [(each.id, each.owner) for each in found], "output")
    has_pictures = exists().where(outputs.c.job_id == jobs.c.id)
    empty = and_(jobs.c.id.in_(job_ids), ENDED, ~has_pictures, jobs.c.completed_at <= now() - age)
    gone = [(row.id, row.client_id) for row in connection.execute(delete(jobs).where(empty).returning(*_GONE))]
    _record_removals(connection, gone, "job")
    return Deleted(found, len(gone))


_OLD = (outputs.c.id, outputs.c.job_id, outputs.c.path, outputs.c.thumbnail_path, outputs.c.bytes, outputs.c.owner)
_GONE = (jobs.c.id, jobs.c.client_id)
_GONE_BATCH = (batches.c.id, batches.c.owner)
_COMMON = and_(outputs.c.favorite.is_(False), IN_GALLERY)


def _outputs(connection: Connection, *which: ColumnElement[bool]) -> list[OldOutput]:
    return [OldOutput(*row) for row in connection.execute(select(*_OLD).where(*which))]


def _record_removals(connection: Connection, gone: Sequence[tuple[str, str]], kind: str) -> None:
    """Record id and owner of each removed row."""
    if gone:
        removal = insert_into(removals, connection).values(kind=kind, removed_at=now()).on_conflict_do_nothing()
        connection.execute(removal, [{"id": each, "owner": owner} for each, owner in gone])
