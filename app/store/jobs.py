"""The queue as clients see it: enqueue, look up, count, cancel, retry. What workers do to it is in `claims.py`.

A new way to ask about jobs goes here; a new write by a worker goes to `claims.py` and must be fenced. Both are tested
by the contract suite in tests/store, on SQLite and on PostgreSQL.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, func, insert, or_, select, update

from app.core.job import Job, JobStatus, Phase, Progress
from app.core.request import GenerationRequest
from app.core.scheduling import next_turn
from app.errors import Conflict, Gone, IdempotencyConflict, JobNotFound
from app.store.clock import now
from app.store.database import Database
from app.store.outbox import announce
from app.store.schema import PENDING, PROCESSING, THE_LINE, idempotency_keys, jobs, removals


@dataclass(frozen=True)
class IdempotencyKey:
    """A client's promise that requests with the same `key` are the same request; `body_sha256` checks it."""

    key: str
    body_sha256: str


class JobStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    # --- coming in

    def enqueue(
        self,
        request: GenerationRequest,
        *,
        client_id: str,
        priority: int = 0,
        max_attempts: int = 3,
        warnings: Sequence[str] = (),
        webhook_url: str | None = None,
        idempotency: IdempotencyKey | None = None,
    ) -> tuple[Job, bool]:
        """Store a job and give it and whether it is new. When this returns, the job is on the disk.

        An `idempotency` key seen before gives the job it made then. Raises IdempotencyConflict when it was used for
        another body.
        """
        with self._database.write() as connection:
            if idempotency is not None:
                earlier = _replayed(connection, client_id, idempotency)
                if earlier is not None:
                    return _find(connection, earlier), False
            job_id = uuid.uuid4().hex
            row = connection.execute(
                insert(jobs)
                .values(
                    id=job_id,
                    client_id=client_id,
                    status=JobStatus.PENDING.value,
                    priority=priority,
                    turn=_next_turn(connection, client_id, priority),
                    model_id=request.model_id,
                    prompt=request.prompt,
                    negative_prompt=request.negative_prompt,
                    settings=request.settings(),
                    warnings=list(warnings),
                    created_at=now(),
                    attempt=0,
                    max_attempts=max_attempts,
                    cancel_requested=False,
                    phase=Phase.STARTING.value,
                    step=0,
                    total_steps=request.num_inference_steps,
                    revision=1,
                    timings={},
                    webhook_url=webhook_url,
                )
                .returning(jobs)
            ).one()
            if idempotency is not None:
                connection.execute(
                    insert(idempotency_keys).values(
                        client_id=client_id,
                        key=idempotency.key,
                        body_sha256=idempotency.body_sha256,
                        job_id=job_id,
                        created_at=now(),
                    )
                )
        return job_from_row(row), True

    # --- looking

    def get(self, job_id: str) -> Job:
        """Raises JobNotFound, or Gone when it was here once and was removed."""
        with self._database.read() as connection:
            return _find(connection, job_id)

    def revision(self, job_id: str) -> int | None:
        """A number that grows with every change of the job; None when there is no such job. Cheap enough to poll."""
        with self._database.read() as connection:
            return connection.scalar(select(jobs.c.revision).where(jobs.c.id == job_id))

    def position(self, job: Job) -> int | None:
        """1 for the job that is served next, by priority and turn; None when the job is not waiting."""
        if job.status is not JobStatus.PENDING:
            return None
        earlier_turn = or_(jobs.c.turn < job.turn, and_(jobs.c.turn == job.turn, jobs.c.seq < job.seq))
        ahead = or_(jobs.c.priority > job.priority, and_(jobs.c.priority == job.priority, earlier_turn))
        with self._database.read() as connection:
            return 1 + (connection.scalar(select(func.count()).select_from(jobs).where(PENDING, ahead)) or 0)

    def waiting(self, limit: int = 50) -> list[Job]:
        """The head of the line, first served first."""
        with self._database.read() as connection:
            rows = connection.execute(select(jobs).where(PENDING).order_by(*THE_LINE).limit(limit))
            return [job_from_row(row) for row in rows]

    def running(self) -> list[Job]:
        with self._database.read() as connection:
            return [
                job_from_row(row) for row in connection.execute(select(jobs).where(PROCESSING).order_by(jobs.c.seq))
            ]

    def newest(self, statuses: Sequence[JobStatus], *, limit: int, before_seq: int | None = None) -> list[Job]:
        """Jobs in any of `statuses`, newest first; `before_seq` continues an earlier page."""
        query = select(jobs).where(jobs.c.status.in_([status.value for status in statuses]))
        if before_seq is not None:
            query = query.where(jobs.c.seq < before_seq)
        with self._database.read() as connection:
            return [job_from_row(row) for row in connection.execute(query.order_by(jobs.c.seq.desc()).limit(limit))]

    def count_pending(self) -> int:
        with self._database.read() as connection:
            return connection.scalar(select(func.count()).select_from(jobs).where(PENDING)) or 0

    def counts(self) -> dict[JobStatus, int]:
        """How many jobs there are in each status."""
        query = select(jobs.c.status, func.count()).group_by(jobs.c.status)
        with self._database.read() as connection:
            found = {row[0]: row[1] for row in connection.execute(query)}
        return {status: found.get(status.value, 0) for status in JobStatus}

    # --- changing one's mind

    def cancel(self, job_id: str) -> Job:
        """Cancel a waiting job at once, or ask the worker of a running one to stop.

        Raises Conflict when the job has ended, unless it ended by being cancelled.
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
                announce(connection, job)
        if job.status.terminal and job.status is not JobStatus.CANCELLED:
            raise Conflict(f"The job is {job.status.value}; only a waiting or running job can be cancelled.")
        return job

    def retry(self, job_id: str, *, max_attempts: int) -> Job:
        """Put a FAILED or CANCELLED job back in line, at the place it had, with `max_attempts` fresh attempts."""
        with self._database.write() as connection:
            row = connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id, jobs.c.status.in_(["FAILED", "CANCELLED"]))
                .values(
                    status=JobStatus.PENDING.value,
                    max_attempts=jobs.c.attempt + max_attempts,
                    available_at=None,
                    started_at=None,
                    completed_at=None,
                    worker_id=None,
                    cancel_requested=False,
                    phase=Phase.STARTING.value,
                    step=0,
                    error_code=None,
                    error_message=None,
                    revision=jobs.c.revision + 1,
                )
                .returning(jobs)
            ).one_or_none()
            job = job_from_row(row) if row is not None else _find(connection, job_id)
        if row is None:
            raise Conflict(f"The job is {job.status.value}; only a FAILED or CANCELLED job can be retried.")
        return job


def job_from_row(row: Row[Any]) -> Job:
    """A row of `jobs`, whole, as the domain's Job."""
    done = row.status == JobStatus.COMPLETED.value
    phase = Phase.DONE if done else Phase(row.phase)
    return Job(
        id=row.id,
        seq=row.seq,
        client_id=row.client_id,
        status=JobStatus(row.status),
        priority=row.priority,
        turn=row.turn,
        request=request_from_row(row),
        created_at=row.created_at,
        available_at=row.available_at,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        revision=row.revision,
        progress=Progress(phase, row.total_steps if done else row.step, row.total_steps),
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
        completed_at=row.completed_at,
        worker_id=row.worker_id,
        cancel_requested=row.cancel_requested,
        error_code=row.error_code,
        error_message=row.error_message,
        warnings=tuple(row.warnings),
        timings=row.timings,
        webhook_url=row.webhook_url,
    )


def request_from_row(row: Row[Any]) -> GenerationRequest:
    return GenerationRequest(
        model_id=row.model_id, prompt=row.prompt, negative_prompt=row.negative_prompt, **row.settings
    )


def _find(connection: Connection, job_id: str) -> Job:
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).one_or_none()
    if row is not None:
        return job_from_row(row)
    if connection.scalar(select(removals.c.id).where(removals.c.id == job_id)) is not None:
        raise Gone("The job was removed by retention or by its owner.")
    raise JobNotFound("There is no job with this id.")


def _replayed(connection: Connection, client_id: str, idempotency: IdempotencyKey) -> str | None:
    row = connection.execute(
        select(idempotency_keys.c.body_sha256, idempotency_keys.c.job_id).where(
            idempotency_keys.c.client_id == client_id, idempotency_keys.c.key == idempotency.key
        )
    ).one_or_none()
    if row is None:
        return None
    if row.body_sha256 != idempotency.body_sha256:
        raise IdempotencyConflict("This Idempotency-Key was used with another body. Use a fresh key for a new request.")
    job_id: str = row.job_id
    return job_id


def _next_turn(connection: Connection, client_id: str, priority: int) -> int:
    line = select(jobs.c.turn).where(PENDING, jobs.c.priority == priority)
    own = line.where(jobs.c.client_id == client_id).order_by(jobs.c.turn.desc()).limit(1)
    serving = line.order_by(jobs.c.turn, jobs.c.seq).limit(1)
    return next_turn(connection.scalar(own), connection.scalar(serving))
