"""The queue for clients: enqueue, get, count, cancel, retry. The operations of workers are in `claims.py`.

A new query for jobs goes here; a new write by a worker goes to `claims.py` and must be fenced. Both are tested by the
contract suite in tests/store, on SQLite and on PostgreSQL.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    func,
    insert,
    literal_column,
    or_,
    select,
    union_all,
    update,
)

from app.core.catalog import Lane
from app.core.inputs import InputPicture
from app.core.job import Job, JobStatus, Phase
from app.core.needs import needs_of
from app.core.request import GenerationRequest
from app.core.spending import Charge
from app.errors import Conflict, Gone, JobNotFound
from app.store.db.database import Database, now
from app.store.db.ids import new_id
from app.store.db.prepared import Prepared
from app.store.db.schema import ENDED, PENDING, PROCESSING, QUEUE_ORDER, UNSUCCESSFUL, jobs, removals, tallies
from app.store.queue.batch_limits import reopen
from app.store.queue.idempotency import (
    FirstAnswer,
    IdempotencyKey,
    first_answer,
    is_first_use,
    newest_key,
    store_answer,
)
from app.store.queue.next_job import turn_for
from app.store.queue.outbox import WebhookRenderer, enqueue_webhooks
from app.store.queue.predictions import supersede_for_retry
from app.store.queue.room import check_room, count_waiting, lock_room
from app.store.queue.rows import PAUSED, job_from_row, lane_of, store_inputs
from app.store.queue.spending import spend

_IDS_AT_A_TIME = 500  # databases bound the parameters of a statement


class JobStore:
    """`render_webhook` makes the webhook message about a job that has ended."""

    def __init__(self, database: Database, *, render_webhook: WebhookRenderer) -> None:
        self._database = database
        self._render = render_webhook

    # --- enqueue

    def enqueue(
        self,
        request: GenerationRequest,
        *,
        client_id: str,
        lane: Lane = "local",
        priority: int = 0,
        max_attempts: int = 3,
        warnings: Sequence[str] = (),
        webhook_url: str | None = None,
        idempotency: IdempotencyKey | None = None,
        request_id: str | None = None,
        traceparent: str | None = None,
        pictures: Sequence[InputPicture] = (),
        charge: Charge | None = None,
    ) -> tuple[Job, bool]:
        """Store a job with its input `pictures`, durably. Returns the job and whether it is new.

        A known `idempotency` key returns the job that it created. Raises IdempotencyConflict if it was used with
        another body, and SpendLimit if the client may not have another `charge` today.
        """
        job_id = new_id()
        with self._database.write() as connection:
            if idempotency is not None and not is_first_use(connection, client_id, idempotency, job_id):
                earlier = first_answer(connection, client_id, idempotency)
                assert earlier is not None, "the key exists, so its answer does"
                return _find(connection, earlier.job_id), False
            if charge is not None:
                spend(connection, client_id, charge)
            row = _ENQUEUE.first(
                connection,
                {
                    "id": job_id,
                    "client_id": client_id,
                    "lane": lane,
                    "priority": priority,
                    "turn": turn_for(connection, client_id, priority, lane),
                    "model_id": request.model_id,
                    "prompt": request.prompt,
                    "negative_prompt": request.negative_prompt,
                    "settings": request.stored(),
                    "warnings": list(warnings),
                    "max_attempts": max_attempts,
                    "total_steps": request.steps_run,
                    "timings": {},
                    "webhook_url": webhook_url,
                    "request_id": request_id,
                    "traceparent": traceparent,
                    "needs": needs_of(request).key,
                },
            )
            store_inputs(connection, job_id, pictures)
            job = job_from_row(row)
            if idempotency is not None:
                place = _place(connection, job)
                store_answer(connection, client_id, idempotency, position=place, warnings=warnings)
        return job, True

    def first_answer(self, client_id: str, idempotency: IdempotencyKey) -> FirstAnswer | None:
        """The answer to the first request with this key, or None. Raises IdempotencyConflict."""
        with self._database.read() as connection:
            return first_answer(connection, client_id, idempotency)

    def newest_key(self, client_id: str, prefix: str, *, within_seconds: float) -> tuple[str, str] | None:
        """The client's newest Idempotency-Key that begins with `prefix` and is no older, and the id of its job."""
        with self._database.read() as connection:
            return newest_key(connection, client_id, prefix, within_seconds)

    # --- query

    def get(self, job_id: str) -> Job:
        """Raises JobNotFound, or Gone if it was removed."""
        with self._database.read() as connection:
            return _find(connection, job_id)

    def revision(self, job_id: str) -> int | None:
        """A number that grows with every change of the job; None if it does not exist. Cheap enough to poll."""
        with self._database.read() as connection:
            return connection.scalar(select(jobs.c.revision).where(jobs.c.id == job_id))

    def revisions(self, job_ids: Sequence[str]) -> dict[str, int]:
        """The revisions of those of `job_ids` that exist."""
        found: dict[str, int] = {}
        with self._database.read() as connection:
            for start in range(0, len(job_ids), _IDS_AT_A_TIME):
                some = job_ids[start : start + _IDS_AT_A_TIME]
                rows = connection.execute(select(jobs.c.id, jobs.c.revision).where(jobs.c.id.in_(some)))
                found.update((row.id, row.revision) for row in rows)
        return found

    def position(self, job: Job) -> int | None:
        """The place in the lane's queue, 1 for the next job, by priority and turn; None if it is not pending, or
        paused."""
        if job.status is not JobStatus.PENDING or job.paused:
            return None
        with self._database.read() as connection:
            return _place(connection, job)

    def waiting(self, limit: int = 50, client_id: str | None = None, *, lane: Lane = "local") -> list[Job]:
        """The first jobs in the queue of `lane`, next one first; only of `client_id`, if given."""
        line = select(jobs).where(PENDING, jobs.c.lane == lane).order_by(*QUEUE_ORDER).limit(limit)
        if client_id is not None:
            line = line.where(jobs.c.client_id == client_id)
        with self._database.read() as connection:
            rows = connection.execute(line)
            return [job_from_row(row) for row in rows]

    def running(self) -> list[Job]:
        """Running jobs, in order of submission."""
        with self._database.read() as connection:
            found = [job_from_row(row) for row in connection.execute(select(jobs).where(PROCESSING))]
        return sorted(found, key=lambda job: job.seq)  # with ORDER BY, SQLite would scan the table instead of the index

    def newest(
        self,
        statuses: Sequence[JobStatus],
        *,
        limit: int,
        before_seq: int | None = None,
        client_id: str | None = None,
    ) -> list[Job]:
        """Jobs in any of `statuses`, newest first; `before_seq` continues an earlier page. With `client_id` only jobs
        of this client, and then not for COMPLETED ones, which are listed by their outputs."""
        found: list[Job] = []
        with self._database.read() as connection:
            for status in set(statuses):  # one query each: it reads the end of an index, however rare the status is
                wanted = _in_status(status) if client_id is None else _of_client(client_id, status)
                newest = select(jobs.c.seq).where(wanted).order_by(jobs.c.seq.desc()).limit(limit)
                if before_seq is not None:
                    newest = newest.where(jobs.c.seq < before_seq)
                found += map(job_from_row, connection.execute(select(jobs).where(jobs.c.seq.in_(newest))))
        return sorted(found, key=lambda job: job.seq, reverse=True)[:limit]

    def count_pending(self) -> int:
        """How many jobs wait, without paused ones: they wait for no worker."""
        with self._database.read() as connection:
            return count_waiting(connection)

    def check_room(self, more: int, most: int, *, paused_of: str | None = None) -> None:
        """Raises QueueFull if with so many `more` jobs more than `most` would wait; with `paused_of`, more than `most`
        jobs of this client would be paused."""
        with self._database.read() as connection:
            check_room(connection, more, most, paused_of=paused_of)

    def counts(self) -> dict[JobStatus, int]:
        """How many jobs are in each status: exact, consistent, and without reading history."""
        with self._database.read() as connection:
            return count_by_status(connection)

    def counts_by_lane(self) -> dict[tuple[Lane, JobStatus], int]:
        """How many jobs are pending and running in each lane."""
        with self._database.read() as connection:
            return count_by_lane(connection)

    # --- cancel and retry

    def cancel(self, job_id: str) -> Job:
        """Cancel a pending job at once, or request the worker of a running one to stop.

        Raises Conflict if the job has ended, unless it was cancelled.
        """
        with self._database.write() as connection:
            row = (
                connection.execute(
                    update(jobs)
                    .where(jobs.c.id == job_id, PENDING)
                    .values(
                        status=JobStatus.CANCELLED.value,
                        cancel_requested=True,
                        completed_at=now(),
                        revision=jobs.c.revision + 1,
                    )
                    .returning(jobs)
                ).one_or_none()
                or connection.execute(
                    update(jobs)
                    .where(jobs.c.id == job_id, PROCESSING)
                    .values(cancel_requested=True, revision=jobs.c.revision + 1)
                    .returning(jobs)
                ).one_or_none()
            )
            job = job_from_row(row) if row is not None else _find(connection, job_id)
            if row is not None:
                enqueue_webhooks(connection, job, render=self._render)
        if job.status.terminal and job.status is not JobStatus.CANCELLED:
            raise Conflict(f"The job is {job.status.value}; only a pending or running job can be cancelled.")
        return job

    def retry(
        self, job_id: str, *, max_attempts: int, charge: Charge | None = None, most_pending: int | None = None
    ) -> Job:
        """Put a FAILED or CANCELLED job back at the end of its client's queue, with `max_attempts` new attempts.

        The client, and the job's batch, are charged again if the retry will ask the provider again. Raises SpendLimit,
        what `reopen` raises for the batch, and QueueFull if more than `most_pending` jobs would wait or be paused.

        Not at its former place, or cancel and retry would be a way to overtake other clients.
        """
        with self._database.write() as connection:
            lock_room(connection)
            _check_room_for(connection, connection.execute(_unsuccessful([job_id])).all(), most_pending)
            job, price = _retry(connection, job_id, max_attempts, charge)
            if price is None:
                raise Conflict(f"The job is {job.status.value}; only a FAILED or CANCELLED job can be retried.")
            if job.batch_id is not None:
                reopen(connection, job.batch_id, price=price)
        return job

    def retry_many(
        self, charged: Mapping[str, Charge | None], *, max_attempts: int, most_pending: int | None = None
    ) -> list[str]:
        """Retry these jobs, each with its charge, in one transaction. Returns the ids of those whose state allowed it.
        Raises as `retry`; none is retried then."""
        with self._database.write() as connection:
            lock_room(connection)
            found = connection.execute(_unsuccessful(list(charged))).all()
            _check_room_for(connection, found, most_pending)
            local = [row for row in found if lane_of(row.lane) == "local"]
            _put_back(connection, local, max_attempts)
            prices = {row.batch_id: 0.0 for row in found if row.batch_id is not None}
            remote = [row for row in found if lane_of(row.lane) == "remote"]
            for row in remote:
                _, price = _retry(connection, row.id, max_attempts, charged[row.id])
                if row.batch_id is not None:
                    prices[row.batch_id] += price or 0.0
            for batch_id in sorted(prices):
                reopen(connection, batch_id, price=prices[batch_id])
        return [row.id for row in local + remote]


def _check_room_for(connection: Connection, rows: Sequence[Row[Any]], most: int | None) -> None:
    paused = Counter(row.client_id for row in rows if row.lane in PAUSED.values())
    check_room(connection, len(rows) - paused.total(), most)
    for client_id, number in paused.items():
        check_room(connection, number, most, paused_of=client_id)


def _unsuccessful(job_ids: Sequence[str]) -> Select[Any]:
    """Those of these jobs that can be retried; locked on PostgreSQL, so that they still can when they are."""
    columns = (jobs.c.seq, jobs.c.id, jobs.c.lane, jobs.c.client_id, jobs.c.priority, jobs.c.batch_id)
    which = jobs.c.id.in_(job_ids), jobs.c.status.in_(["FAILED", "CANCELLED"])
    return select(*columns).where(*which).order_by(jobs.c.seq).with_for_update()


def _put_back(connection: Connection, rows: Sequence[Row[Any]], max_attempts: int) -> None:
    """Put jobs of local models back at the end of their client's queue."""
    turns: dict[tuple[str, int], int] = {}
    given = []
    for row in rows:
        queue = row.client_id, row.priority
        turns[queue] = turns[queue] + 1 if queue in turns else turn_for(connection, *queue, "local")
        given.append({"own": row.seq, "given": turns[queue], "more": max_attempts})
    if given:
        _PUT_BACK.many(connection, given)


_AS_NEW: dict[str, Any] = {
    "status": JobStatus.PENDING.value,
    "interruptions": 0,
    "available_at": None,
    "overtaken_at": None,
    "started_at": None,
    "completed_at": None,
    "worker_id": None,
    "cancel_requested": False,
    "phase": Phase.STARTING.value,
    "step": 0,
    "error_code": None,
    "error_message": None,
    "revision": jobs.c.revision + 1,
}
_PUT_BACK = Prepared(
    update(jobs)
    .where(jobs.c.seq == bindparam("own"))
    .values(turn=bindparam("given"), max_attempts=jobs.c.attempt + bindparam("more"), **_AS_NEW)
)


def _retry(connection: Connection, job_id: str, max_attempts: int, charge: Charge | None) -> tuple[Job, float | None]:
    """The job, and what putting it back costs; None if it was neither FAILED nor CANCELLED and stays what it is."""
    known = _find(connection, job_id)
    row = connection.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.status.in_(["FAILED", "CANCELLED"]))
        .values(
            turn=turn_for(connection, known.client_id, known.priority, known.lane),
            max_attempts=jobs.c.attempt + max_attempts,
            **_AS_NEW,
        )
        .returning(jobs)
    ).one_or_none()
    if row is None:
        return _find(connection, job_id), None
    superseded = supersede_for_retry(connection, job_id, cancelled=known.status is JobStatus.CANCELLED)
    if charge is None or not superseded:
        return job_from_row(row), 0.0
    spend(connection, known.client_id, charge)
    return job_from_row(row), charge.price


def count_by_status(connection: Connection) -> dict[JobStatus, int]:
    found = {row[0]: int(row[1]) for row in connection.execute(_COUNTS)}
    return {status: found.get(status.value, 0) for status in JobStatus}


def count_by_lane(connection: Connection) -> dict[tuple[Lane, JobStatus], int]:
    """Paused jobs wait for no worker, so they are not counted as pending."""
    found: dict[tuple[Lane, JobStatus], int] = {}
    for lane, status, number in connection.execute(_COUNTS_BY_LANE):
        if status == JobStatus.PENDING.value and lane in PAUSED.values():
            continue
        key = lane_of(lane), JobStatus(status)
        found[key] = found.get(key, 0) + int(number)
    return found


_ENQUEUE = Prepared(
    insert(jobs)
    .values(
        status=JobStatus.PENDING.value,
        created_at=now(),
        attempt=0,
        cancel_requested=False,
        phase=Phase.STARTING.value,
        step=0,
        revision=1,
    )
    .returning(jobs)
)

_COUNTS = union_all(
    select(literal_column("'PENDING'"), func.count()).select_from(jobs).where(PENDING),
    select(literal_column("'PROCESSING'"), func.count()).select_from(jobs).where(PROCESSING),
    select(tallies.c.subject, func.sum(tallies.c.count)).group_by(tallies.c.subject),
)

_COUNTS_BY_LANE = union_all(
    *(
        select(jobs.c.lane, literal_column(status), func.count()).where(there).group_by(jobs.c.lane)
        for status, there in (("'PENDING'", PENDING), ("'PROCESSING'", PROCESSING))
    )
)


def _in_status(status: JobStatus) -> ColumnElement[bool]:
    """The condition as the partial indexes spell it."""
    if status.terminal:
        return and_(ENDED, jobs.c.status == status.value)
    return PENDING if status is JobStatus.PENDING else PROCESSING


def _of_client(client_id: str, status: JobStatus) -> ColumnElement[bool]:
    """The same for one client, as the partial indexes by client spell it: without what those of all clients say, which
    SQLite would take for some widths of the table."""
    own = jobs.c.client_id == client_id
    if status.terminal:
        return and_(own, UNSUCCESSFUL, jobs.c.status == status.value)
    return and_(own, _in_status(status))


def _find(connection: Connection, job_id: str) -> Job:
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).one_or_none()
    if row is not None:
        return job_from_row(row)
    if connection.scalar(select(removals.c.id).where(removals.c.id == job_id)) is not None:
        raise Gone("The job was removed by retention or by its owner.")
    raise JobNotFound("There is no job with this id.")


def _place(connection: Connection, job: Job) -> int:
    """The place in the lane's queue, 1 for the next job."""
    earlier_turn = or_(jobs.c.turn < job.turn, and_(jobs.c.turn == job.turn, jobs.c.seq < job.seq))
    ahead = or_(jobs.c.priority > job.priority, and_(jobs.c.priority == job.priority, earlier_turn))
    return 1 + (
        connection.scalar(select(func.count()).select_from(jobs).where(PENDING, jobs.c.lane == job.lane, ahead)) or 0
    )
