"""Batches for clients: get, list, and what stands at their places. What changes them is in `batch_changes.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select

from app.core.batches.axes import Axis
from app.core.batches.batch import Batch, Place
from app.core.job import Job, JobStatus
from app.errors import BatchNotFound, Gone
from app.store.db.database import Database
from app.store.db.schema import IN_GALLERY, NOT_ENDED, batch_tallies, batches, jobs, outputs, removals
from app.store.media.outputs import SHOWN, output_from_row
from app.store.queue.rows import job_from_row, request_from_row

_FEW = 500  # databases bound the parameters of a statement


class BatchStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, batch_id: str) -> Batch:
        """Raises BatchNotFound, or Gone if it was removed."""
        with self._database.read() as connection:
            return find(connection, batch_id)

    def page(self, owner: str | None, *, limit: int, before: str | None = None) -> list[Batch]:
        """The newest batches first, of `owner` or of all; `before` is the id that an earlier page ended with. Without
        axes and requests, which may be large."""
        query = select(*_LISTED).order_by(batches.c.id.desc()).limit(limit)
        if owner is not None:
            query = query.where(batches.c.owner == owner)
        if before is not None:
            query = query.where(batches.c.id < before)
        with self._database.read() as connection:
            return with_counts(connection, connection.execute(query).all())

    def open(self) -> list[Batch]:
        """Those that have not ended, as far as it was told; as `page` has them."""
        with self._database.read() as connection:
            return with_counts(connection, connection.execute(select(*_LISTED).where(NOT_ENDED)).all())

    def some(self, ids: Sequence[str]) -> list[Batch]:
        """Those of `ids` that there are; as `page` has them."""
        found: list[Batch] = []
        with self._database.read() as connection:
            for start in range(0, len(ids), _FEW):
                query = select(*_LISTED).where(batches.c.id.in_(ids[start : start + _FEW]))
                found += with_counts(connection, connection.execute(query).all())
        return found

    def places(self, batch_id: str, *, offset: int = 0, limit: int = 100) -> list[Place]:
        """The jobs at `limit` places from `offset` on, with their pictures, in the order of the places."""
        wanted = jobs.c.batch_place >= offset, jobs.c.batch_place < offset + limit
        return self._places(batch_id, *wanted)

    def at(self, batch_id: str, places: Sequence[int]) -> list[Place]:
        """The jobs at these places, with their pictures."""
        found: list[Place] = []
        for start in range(0, len(places), _FEW):
            found += self._places(batch_id, jobs.c.batch_place.in_(places[start : start + _FEW]))
        return found

    def count_images(self, batch_id: str, statuses: Sequence[JobStatus]) -> int:
        """How many pictures the jobs with one of `statuses` were asked for."""
        which = jobs.c.batch_id == batch_id, jobs.c.status.in_([status.value for status in statuses])
        with self._database.read() as connection:
            found = connection.scalars(select(jobs.c.settings).where(*which))
            return sum(int(settings.get("num_images", 1)) for settings in found)

    def last_waiting(self, batch_id: str) -> Job | None:
        """The waiting job with the last place, which is usually the last one to run."""
        query = select(jobs).where(jobs.c.batch_id == batch_id, jobs.c.status == JobStatus.PENDING.value)
        with self._database.read() as connection:
            row = connection.execute(query.order_by(jobs.c.batch_place.desc()).limit(1)).one_or_none()
            return None if row is None else job_from_row(row)

    def _places(self, batch_id: str, *which: ColumnElement[bool]) -> list[Place]:
        query = select(*_OF_PLACE).where(jobs.c.batch_id == batch_id, *which).order_by(jobs.c.batch_place)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            images = _images(connection, [row.id for row in rows])
        return [_place(row, images.get(row.id, ())) for row in rows]


_LISTED = [column for column in batches.c if column.name not in ("axes", "request")]
_OF_PLACE = (
    jobs.c.id,
    jobs.c.batch_place,
    jobs.c.status,
    jobs.c.model_id,
    jobs.c.prompt,
    jobs.c.negative_prompt,
    jobs.c.settings,
    jobs.c.error_code,
    jobs.c.error_message,
)


def find(connection: Connection, batch_id: str) -> Batch:
    """Raises BatchNotFound, or Gone if it was removed."""
    row = connection.execute(select(batches).where(batches.c.id == batch_id)).one_or_none()
    if row is not None:
        return with_counts(connection, [row])[0]
    if connection.scalar(select(removals.c.id).where(removals.c.id == batch_id)) is not None:
        raise Gone("The batch was removed by retention.")
    raise BatchNotFound("There is no batch with this id.")


def with_counts(connection: Connection, rows: Sequence[Row[Any]]) -> list[Batch]:
    """Batches of their rows, with the tallies of their jobs."""
    ids = [row.id for row in rows]
    counts: dict[str, dict[JobStatus, int]] = {each: dict.fromkeys(JobStatus, 0) for each in ids}
    tally = select(batch_tallies.c.batch_id, batch_tallies.c.status, func.sum(batch_tallies.c.count))
    grouped = tally.group_by(batch_tallies.c.batch_id, batch_tallies.c.status)
    for start in range(0, len(ids), _FEW):
        some = batch_tallies.c.batch_id.in_(ids[start : start + _FEW])
        for batch_id, status, number in connection.execute(grouped.where(some)):
            counts[batch_id][JobStatus(status)] = int(number)
    return [_batch(row, counts[row.id]) for row in rows]


def _batch(row: Row[Any], counts: Mapping[JobStatus, int]) -> Batch:
    known = {name: value for name, value in row._mapping.items() if name not in ("axes", "request", "warnings")}
    axes = [Axis(each["field"], each["values"]) for each in row._mapping.get("axes", ())]
    request = row._mapping.get("request", {})
    return Batch(**known, axes=axes, request=request, warnings=tuple(row.warnings), counts=counts)


def _place(row: Any, images: Sequence[Any]) -> Place:
    status, request = JobStatus(row.status), request_from_row(row)
    return Place(row.batch_place, row.id, status, request, row.error_code, row.error_message, images)


def _images(connection: Connection, job_ids: Sequence[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for start in range(0, len(job_ids), _FEW):
        some = outputs.c.job_id.in_(job_ids[start : start + _FEW])
        query = select(*SHOWN).where(some, IN_GALLERY).order_by(outputs.c.job_id, outputs.c.index)
        for row in connection.execute(query):
            found.setdefault(row.job_id, []).append(output_from_row(row))
    return found
