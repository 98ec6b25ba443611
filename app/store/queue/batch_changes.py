"""Batches: enqueue, add, pause, resume, prioritise, cancel, each in one transaction. Jobs are retried in `jobs.py`.

A batch of ten thousand jobs is accepted in one transaction, all or nothing. What it writes is prepared before, so that
others wait for the inserts alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from app.core.batches.batch import Batch, NewBatch, NewJob
from app.core.catalog import Lane
from app.core.job import JobStatus, Phase
from app.core.needs import needs_of
from app.core.spending import Charge
from app.store.db.database import Database, now
from app.store.db.engines import Serialized
from app.store.db.ids import new_id
from app.store.db.prepared import Prepared
from app.store.db.schema import PENDING, batches, jobs
from app.store.queue.batch_limits import grow, refuse_when_late
from app.store.queue.batches import find
from app.store.queue.idempotency import IdempotencyKey, first_answer, is_first_use, store_answer
from app.store.queue.next_job import turn_for
from app.store.queue.room import check_room, lock_room
from app.store.queue.rows import PAUSED, store_inputs
from app.store.queue.spending import spend

_PORTION = 200  # rows that a transaction changes one by one


@dataclass(frozen=True)
class Submitter:
    """Who submits, and what every job of the batch gets."""

    client_id: str
    max_attempts: int
    idempotency: IdempotencyKey | None = None
    traceparent: str | None = None


class BatchChangeStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def enqueue(self, batch: NewBatch, new: Sequence[NewJob], by: Submitter) -> tuple[str, bool]:
        """Store a batch and its jobs, durably. Returns its id and whether it is new: a known Idempotency-Key returns
        the batch that it created. Raises IdempotencyConflict and SpendLimit; nothing is stored then."""
        batch_id = new_id()
        rows = list(_rows(batch_id, batch.priority, new, by, batch.request_id))
        with self._database.write() as connection:
            if by.idempotency is not None and not is_first_use(connection, by.client_id, by.idempotency, batch_id):
                earlier = first_answer(connection, by.client_id, by.idempotency)
                assert earlier is not None, "the key exists, so its answer does"
                return earlier.job_id, False
            spent = _spend(connection, new, by)
            connection.execute(insert(batches).values(id=batch_id, **_values(batch, len(new), spent, by.client_id)))
            _insert(connection, rows, new, by.client_id, batch.priority)
            if by.idempotency is not None:
                store_answer(connection, by.client_id, by.idempotency, position=0, warnings=batch.warnings)
        return batch_id, True

    def add(
        self,
        batch: Batch,
        new: Sequence[NewJob],
        by: Submitter,
        *,
        most_jobs: int | None = None,
        most_pending: int | None = None,
    ) -> tuple[int, bool]:
        """Store more jobs of a batch, at the places after its last. Returns how many it has then, and whether they are
        new. Raises as `enqueue`, as `grow`, and QueueFull if more than `most_pending` would wait or be paused."""
        rows = list(_rows(batch.id, batch.priority, new, by, batch.request_id))
        with self._database.write() as connection:
            lock_room(connection)
            if by.idempotency is not None and not is_first_use(connection, by.client_id, by.idempotency, batch.id):
                first_answer(connection, by.client_id, by.idempotency)  # raises for another body
                return find(connection, batch.id).jobs, False
            grown = grow(connection, batch.id, len(new), _price(new), most_jobs)
            _spend(connection, new, by)
            paused = grown.paused_at is not None
            check_room(connection, len(new), most_pending, paused_of=by.client_id if paused else None)
            for row in rows:
                row["batch_place"] += grown.jobs - len(new)
            _insert(connection, rows, new, by.client_id, batch.priority, paused=paused)
            if by.idempotency is not None:  # the number of jobs stands in the place of a position
                store_answer(connection, by.client_id, by.idempotency, position=len(new), warnings=())
        return grown.jobs, True

    def pause(self, batch_id: str, *, most_paused: int | None = None) -> None:
        """Keep the waiting jobs from being claimed; running ones go on. Raises QueueFull if the client would have more
        than `most_paused` paused jobs."""
        with self._database.write() as connection:
            lock_room(connection)
            changed = update(batches).where(batches.c.id == batch_id, batches.c.paused_at.is_(None))
            owner = connection.scalar(changed.values(paused_at=now()).returning(batches.c.owner))
            if owner is not None:
                check_room(connection, _count_pending(connection, batch_id, PAUSED), most_paused, paused_of=owner)
            _park(connection, batch_id)

    def resume(self, batch_id: str, *, most_pending: int | None = None) -> None:
        """Put the paused jobs back, at the end of their client's queue: others may have overtaken them since. Raises
        QueueFull if more than `most_pending` jobs would wait."""
        with self._database.write() as connection:
            lock_room(connection)
            changed = update(batches).where(batches.c.id == batch_id, batches.c.paused_at.is_not(None))
            if not connection.execute(changed.values(paused_at=None, progressed_at=now())).rowcount:
                return
            check_room(connection, _count_pending(connection, batch_id, PAUSED.values()), most_pending)
            _return(connection, batch_id)

    def prioritise(self, batch_id: str, priority: int) -> None:
        """Give the waiting jobs another priority, at the end of their client's queue of that priority."""
        with self._database.write() as connection:
            changed = update(batches).where(batches.c.id == batch_id).values(priority=priority)
            paused = connection.scalar(changed.returning(batches.c.paused_at)) is not None
            _park(connection, batch_id)
            waits = jobs.c.status == JobStatus.PENDING.value
            connection.execute(update(jobs).where(jobs.c.batch_id == batch_id, waits).values(priority=priority))
            if not paused:
                _return(connection, batch_id)

    def cancel(self, batch_id: str, reason: str = "cancelled") -> int:
        """Cancel the waiting jobs, and request the workers of running ones to stop. Returns how many there were."""
        with self._database.write() as connection:
            of_batch = jobs.c.batch_id == batch_id
            waiting = connection.execute(
                update(jobs)
                .where(of_batch, jobs.c.status == JobStatus.PENDING.value)
                .values(
                    status=JobStatus.CANCELLED.value,
                    cancel_requested=True,
                    completed_at=now(),
                    revision=jobs.c.revision + 1,
                )
            ).rowcount
            running = connection.execute(
                update(jobs)
                .where(of_batch, jobs.c.status == JobStatus.PROCESSING.value, jobs.c.cancel_requested.is_(False))
                .values(cancel_requested=True, revision=jobs.c.revision + 1)
            ).rowcount
            if waiting + running:
                connection.execute(update(batches).where(batches.c.id == batch_id).values(stopped=reason))
        return waiting + running

    def check_in_time(self, batch_id: str) -> None:
        """Raises Conflict past the deadline."""
        with self._database.read() as connection:
            refuse_when_late(connection, batch_id)

    def unsuccessful(self, batch_id: str, *, cancelled: bool) -> Iterator[list[str]]:
        """The ids of FAILED jobs, with `cancelled` also of CANCELLED ones, in portions."""
        statuses = [JobStatus.FAILED.value, *([JobStatus.CANCELLED.value] if cancelled else [])]
        query = select(jobs.c.id, jobs.c.batch_place).where(jobs.c.batch_id == batch_id, jobs.c.status.in_(statuses))
        after = -1
        while True:
            with self._database.read() as connection:
                page = query.where(jobs.c.batch_place > after).order_by(jobs.c.batch_place).limit(_PORTION)
                rows = connection.execute(page).all()
            if not rows:
                return
            yield [row.id for row in rows]
            after = rows[-1].batch_place


def _values(batch: NewBatch, number: int, spent: float, owner: str) -> dict[str, Any]:
    return {
        "owner": owner,
        "name": batch.name,
        "created_at": now(),
        "priority": batch.priority,
        "jobs": number,
        "axes": [{"field": axis.field, "values": list(axis.values)} for axis in batch.axes],
        "request": dict(batch.request),
        "warnings": list(batch.warnings),
        "webhook_url": batch.webhook_url,
        "max_seconds": batch.max_seconds,
        "max_spend": batch.max_spend,
        "spent": spent,
        "request_id": batch.request_id,
        "percent_told": 0,
        "ended_told": 0,
        "progressed_at": now(),
    }


def _rows(
    batch_id: str, priority: int, new: Sequence[NewJob], by: Submitter, request_id: str | None
) -> Iterator[dict[str, Any]]:
    """The rows of `jobs` but for their turns."""
    for job in new:
        yield {
            "id": new_id(),
            "client_id": by.client_id,
            "lane": job.lane,
            "priority": priority,
            "model_id": job.request.model_id,
            "prompt": job.request.prompt,
            "negative_prompt": job.request.negative_prompt,
            "settings": Serialized(job.request.stored_json()),
            "warnings": Serialized(json.dumps(list(job.warnings))),
            "max_attempts": by.max_attempts,
            "total_steps": job.request.steps_run,
            "timings": Serialized("{}"),
            "request_id": request_id,
            "needs": needs_of(job.request).key,
            "traceparent": by.traceparent,
            "batch_id": batch_id,
            "batch_place": job.place,
        }


def _insert(
    connection: Connection,
    rows: Sequence[dict[str, Any]],
    new: Sequence[NewJob],
    client_id: str,
    priority: int,
    *,
    paused: bool = False,
) -> None:
    """Insert the jobs, model by model, so that a worker loads each once. Their turns follow each other, as if each had
    been submitted alone: one person's batch delays another's job by one job at most."""
    models = {row["model_id"]: number for number, row in reversed(list(enumerate(rows)))}
    ordered = sorted(rows, key=lambda row: models[row["model_id"]])
    turns: dict[Lane, int] = {}
    for row in ordered:
        lane: Lane = row["lane"]
        turns[lane] = turns[lane] + 1 if lane in turns else turn_for(connection, client_id, priority, lane)
        row["turn"] = turns[lane]
        row["lane"] = PAUSED[lane] if paused else lane
    _NEW.many(connection, ordered)
    for row, job in zip(rows, new, strict=True):
        store_inputs(connection, row["id"], job.pictures)


def _price(new: Sequence[NewJob]) -> float:
    return sum(job.charge.price for job in new if job.charge is not None)


def _spend(connection: Connection, new: Sequence[NewJob], by: Submitter) -> float:
    """Charge the client for all jobs at once. Returns the amount."""
    charges = [job.charge for job in new if job.charge is not None]
    if not charges:
        return 0.0
    amount = _price(new)
    whole = Charge(amount, charges[0].most_predictions, charges[0].most_amount)
    spend(connection, by.client_id, whole, predictions=len(charges))
    return amount


def _not_completed(batch_id: str, lane: str) -> Any:
    """Of all jobs that may wait again: one that fails later returns to where the others wait."""
    open_or_failed = jobs.c.status != JobStatus.COMPLETED.value
    changed = update(jobs).where(jobs.c.batch_id == batch_id, open_or_failed, jobs.c.lane == lane)
    return changed.values(revision=jobs.c.revision + 1)


def _count_pending(connection: Connection, batch_id: str, lanes: Iterable[str]) -> int:
    waits = jobs.c.status == JobStatus.PENDING.value, jobs.c.lane.in_(list(lanes))
    return connection.scalar(select(func.count()).select_from(jobs).where(jobs.c.batch_id == batch_id, *waits)) or 0


def _park(connection: Connection, batch_id: str) -> None:
    for lane, paused in PAUSED.items():
        connection.execute(_not_completed(batch_id, lane).values(lane=paused))


def _return(connection: Connection, batch_id: str) -> None:
    """Put parked jobs at the end of their client's queue, in their present order."""
    for lane, paused in PAUSED.items():
        of_batch = jobs.c.batch_id == batch_id, jobs.c.status == JobStatus.PENDING.value, jobs.c.lane == paused
        waiting = select(jobs.c.seq, jobs.c.client_id, jobs.c.priority).where(*of_batch)
        rows = connection.execute(waiting.order_by(jobs.c.turn, jobs.c.seq)).all()
        # Where no other job waits, their old turns are as good, and lower than those of jobs to come.
        if rows and connection.scalar(select(jobs.c.seq).where(PENDING, jobs.c.lane == lane).limit(1)) is not None:
            _TURN.many(connection, _turns(connection, rows, lane))
        connection.execute(_not_completed(batch_id, paused).values(lane=lane))


def _turns(connection: Connection, rows: Iterable[Any], lane: Lane) -> list[dict[str, int]]:
    """Jobs that were added after an administrator raised the priority may have a lower one."""
    turns: dict[int, int] = {}
    given = []
    for row in rows:
        if row.priority in turns:
            turns[row.priority] += 1
        else:
            turns[row.priority] = turn_for(connection, row.client_id, row.priority, lane)
        given.append({"own": row.seq, "given": turns[row.priority]})
    return given


_TURN = Prepared(update(jobs).where(jobs.c.seq == bindparam("own")).values(turn=bindparam("given")))
_NEW = Prepared(
    insert(jobs).values(
        status=JobStatus.PENDING.value,
        created_at=now(),
        attempt=0,
        cancel_requested=False,
        phase=Phase.STARTING.value,
        step=0,
        revision=1,
    )
)
