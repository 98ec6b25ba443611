"""What workers do to the queue: claim, heartbeat, progress, complete, fail, release, and the rescue of lost leases.

Every write here is fenced: `worker_id` and `attempt` stand in its WHERE. No row changed means the lease is lost, and
the worker must stop and touch nothing else. `attempt` only ever grows, so an old owner can never look like the new one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, insert, literal, or_, select, update

from app.core.job import Claim, JobStatus, Phase, Progress
from app.core.output import Output
from app.core.scheduling import Candidate, affinity_bound, choose
from app.errors import Cancelled, CyberImageError, GenerationTimeout, LeaseLost, WorkerDied
from app.store.clock import now
from app.store.database import Database
from app.store.jobs import job_from_row, request_from_row
from app.store.outbox import announce
from app.store.schema import PENDING, PROCESSING, THE_LINE, jobs, outputs
from app.store.speeds import learn, load_seconds

BACKOFF_SECONDS = 2.0  # before the second attempt; doubles with each further one
BACKOFF_DOUBLINGS = 7
BACKOFF_MAX_SECONDS = BACKOFF_SECONDS * 2**BACKOFF_DOUBLINGS


@dataclass(frozen=True)
class Beat:
    """What a heartbeat learned about one job: whether we still own it, and whether somebody cancelled it."""

    owned: bool
    cancel_requested: bool


class ClaimStore:
    """`lease_seconds` is how long a claim lasts without a heartbeat, `timeout_seconds` how long an attempt may last."""

    def __init__(self, database: Database, *, lease_seconds: float, timeout_seconds: float) -> None:
        self._database = database
        self._lease = lease_seconds
        self._timeout = timeout_seconds

    def claim(self, worker_id: str, loaded: Collection[str] = ()) -> Claim | None:
        """Take the job that is to run next on a worker that holds the models `loaded`; None when nothing waits."""
        with self._database.read() as connection:  # an idle poll must not take the write lock
            if connection.scalar(select(jobs.c.seq).where(PENDING, _AVAILABLE).limit(1)) is None:
                return None
        with self._database.write() as connection:
            job_id = self._choose(connection, loaded)
            if job_id is None:
                return None
            row = connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id, PENDING)
                .values(
                    status=JobStatus.PROCESSING.value,
                    worker_id=worker_id,
                    attempt=jobs.c.attempt + 1,
                    started_at=now(),
                    heartbeat_at=now(),
                    lease_expires_at=now() + min(self._lease, self._timeout),
                    deadline_at=now() + self._timeout,
                    phase=Phase.STARTING.value,
                    step=0,
                    error_code=None,
                    error_message=None,
                    revision=jobs.c.revision + 1,
                )
                .returning(jobs)
            ).one_or_none()
        if row is None:  # PostgreSQL: somebody else changed it between the look and the update
            return None
        return Claim(
            job_id=row.id,
            worker_id=worker_id,
            attempt=row.attempt,
            max_attempts=row.max_attempts,
            request=request_from_row(row),
            deadline_in=self._timeout,
            queued_seconds=max(0.0, row.started_at - (row.available_at or row.created_at)),
        )

    def _choose(self, connection: Connection, loaded: Collection[str]) -> str | None:
        head = self._first(connection)
        if head is None:
            return None
        if not loaded or head.model_id in loaded:
            return head.job_id
        warm = self._first(connection, jobs.c.model_id.in_(list(loaded)))
        return choose(head, warm, loaded, affinity_bound(load_seconds(connection, head.model_id))).job_id

    def _first(self, connection: Connection, *conditions: ColumnElement[bool]) -> Candidate | None:
        query = (
            select(
                jobs.c.id,
                jobs.c.model_id,
                jobs.c.priority,
                jobs.c.turn,
                jobs.c.seq,
                (now() - func.coalesce(jobs.c.available_at, jobs.c.created_at)).label("age"),
            )
            .where(PENDING, _AVAILABLE, *conditions)
            .order_by(*THE_LINE)
            .limit(1)
            .with_for_update(skip_locked=True)  # PostgreSQL; SQLite's writers are alone already
        )
        row = connection.execute(query).one_or_none()
        return None if row is None else Candidate(*row)

    def heartbeat(self, claims: Sequence[Claim]) -> Mapping[str, Beat]:
        """Extend the leases of `claims`, never past their deadlines; by job id, what became of each."""
        found: dict[str, Beat] = {claim.job_id: Beat(owned=False, cancel_requested=False) for claim in claims}
        with self._database.write(durable=False) as connection:
            for claim in claims:
                row = connection.execute(
                    update(jobs)
                    .where(_owned(claim), now() < jobs.c.deadline_at)
                    .values(heartbeat_at=now(), lease_expires_at=_earlier(now() + self._lease, jobs.c.deadline_at))
                    .returning(jobs.c.cancel_requested)
                ).one_or_none()
                if row is not None:
                    found[claim.job_id] = Beat(owned=True, cancel_requested=row.cancel_requested)
        return found

    def look(self, claim: Claim) -> Beat:
        """Whether the job is still ours, and whether to stop. Writes nothing."""
        with self._database.read() as connection:
            row = connection.execute(select(jobs.c.cancel_requested).where(_owned(claim))).one_or_none()
        return Beat(row is not None, bool(row and row.cancel_requested))

    def progress(self, claim: Claim, progress: Progress) -> Beat:
        """Write down how far the job is. Not durable: a power cut may lose it, and nobody was promised it."""
        with self._database.write(durable=False) as connection:
            row = connection.execute(
                update(jobs)
                .where(_owned(claim))
                .values(
                    phase=progress.phase.value,
                    step=progress.step,
                    total_steps=progress.total_steps or jobs.c.total_steps,
                    revision=jobs.c.revision + 1,
                )
                .returning(jobs.c.cancel_requested)
            ).one_or_none()
        return Beat(row is not None, bool(row and row.cancel_requested))

    def complete(
        self, claim: Claim, published: Sequence[Output], *, timings: Mapping[str, float], warnings: Sequence[str] = ()
    ) -> None:
        """Publish: the output rows and COMPLETED, together, on the disk when this returns.

        Raises LeaseLost when the job is no longer ours, Cancelled when a cancel came first; nothing is written then.
        """
        with self._database.write() as connection:
            row = connection.execute(
                update(jobs)
                .where(_owned(claim), jobs.c.cancel_requested.is_(False))
                .values(
                    status=JobStatus.COMPLETED.value,
                    completed_at=now(),
                    phase=Phase.DONE.value,
                    step=jobs.c.total_steps,
                    timings=dict(timings),
                    revision=jobs.c.revision + 1,
                )
                .returning(jobs)
            ).one_or_none()
            if row is None:
                self._explain_refusal(connection, claim)
            else:
                merged = list(dict.fromkeys([*row.warnings, *warnings]))
                if warnings:
                    connection.execute(update(jobs).where(jobs.c.id == claim.job_id).values(warnings=merged))
                connection.execute(
                    insert(outputs).values(created_at=now()),
                    [{k: v for k, v in asdict(output).items() if k != "created_at"} for output in published],
                )
                learn(connection, claim.request, timings)
                announce(connection, replace(job_from_row(row), warnings=tuple(merged)), published)

    def fail(self, claim: Claim, error: CyberImageError, *, retry_in: float | None = None) -> JobStatus:
        """End the attempt with `error`; with `retry_in` seconds the job waits and is tried again. Gives its new state.

        A job that somebody cancelled meanwhile is CANCELLED instead. Raises LeaseLost.
        """
        retries = retry_in is not None
        fate = JobStatus.PENDING if retries else JobStatus.FAILED
        with self._database.write() as connection:
            row = connection.execute(
                update(jobs)
                .where(_owned(claim))
                .values(
                    status=case((jobs.c.cancel_requested, JobStatus.CANCELLED.value), else_=fate.value),
                    error_code=case((jobs.c.cancel_requested, None), else_=error.code),
                    error_message=case((jobs.c.cancel_requested, None), else_=error.detail),
                    completed_at=case((jobs.c.cancel_requested, now()), else_=None if retries else now()),
                    available_at=now() + retry_in if retry_in is not None else None,
                    worker_id=None,
                    lease_expires_at=None,
                    revision=jobs.c.revision + 1,
                )
                .returning(jobs)
            ).one_or_none()
            if row is not None:
                announce(connection, job_from_row(row))
        if row is None:
            raise LeaseLost(claim.job_id)
        return JobStatus(row.status)

    def cancelled(self, claim: Claim) -> None:
        """The engine stopped because of a cancel: the job is CANCELLED for good. Raises LeaseLost."""
        self._end(claim, status=JobStatus.CANCELLED.value, completed_at=now(), worker_id=None, lease_expires_at=None)

    def release(self, claim: Claim) -> None:
        """Give the job back unharmed (the worker stops): the attempt does not count. Raises LeaseLost."""
        self._end(
            claim,
            status=case((jobs.c.cancel_requested, JobStatus.CANCELLED.value), else_=JobStatus.PENDING.value),
            completed_at=case((jobs.c.cancel_requested, now()), else_=None),
            max_attempts=jobs.c.max_attempts + 1,  # attempt itself must never go back: it is the fence
            worker_id=None,
            lease_expires_at=None,
        )

    def rescue(self) -> Sequence[Row[Any]]:
        """Take every job whose lease has run out away from its worker, in one statement.

        It waits again while attempts are left, else it FAILED: `timeout` when it used up its deadline, `worker_died`
        otherwise. Gives the rows.
        """
        last = jobs.c.attempt >= jobs.c.max_attempts
        timed_out = jobs.c.lease_expires_at >= jobs.c.deadline_at
        doublings = _earlier(jobs.c.attempt - 1, literal(BACKOFF_DOUBLINGS))
        backoff = literal(1).bitwise_lshift(doublings) * BACKOFF_SECONDS  # pow() is an option of SQLite's build
        with self._database.write() as connection:
            # After a clock set back, times lie too far in the future: nobody may wait longer than one lease or backoff.
            connection.execute(
                update(jobs)
                .where(PENDING, jobs.c.available_at > now() + BACKOFF_MAX_SECONDS + 1)
                .values(available_at=None)
            )
            connection.execute(
                update(jobs)
                .where(PROCESSING, jobs.c.lease_expires_at > now() + self._lease + 1)
                .values(lease_expires_at=now() + self._lease, deadline_at=now() + self._timeout)
            )
            rescued = connection.execute(
                update(jobs)
                .where(PROCESSING, jobs.c.lease_expires_at <= now())
                .values(
                    status=case(
                        (jobs.c.cancel_requested, JobStatus.CANCELLED.value),
                        (last, JobStatus.FAILED.value),
                        else_=JobStatus.PENDING.value,
                    ),
                    error_code=case((jobs.c.cancel_requested, None), (timed_out, "timeout"), else_="worker_died"),
                    error_message=case(
                        (jobs.c.cancel_requested, None),
                        (timed_out, GenerationTimeout.title + "."),
                        else_=WorkerDied.title + ".",
                    ),
                    completed_at=case((jobs.c.cancel_requested | last, now()), else_=None),
                    available_at=now() + backoff,
                    worker_id=None,
                    lease_expires_at=None,
                    revision=jobs.c.revision + 1,
                )
                .returning(jobs)
            ).all()
            for row in rescued:
                announce(connection, job_from_row(row))
        return rescued

    def _end(self, claim: Claim, **values: Any) -> None:
        with self._database.write() as connection:
            row = connection.execute(
                update(jobs).where(_owned(claim)).values(revision=jobs.c.revision + 1, **values).returning(jobs)
            ).one_or_none()
            if row is not None:
                announce(connection, job_from_row(row))
        if row is None:
            raise LeaseLost(claim.job_id)

    def _explain_refusal(self, connection: Connection, claim: Claim) -> None:
        if connection.scalar(select(jobs.c.id).where(_owned(claim))) is None:
            raise LeaseLost(claim.job_id)
        raise Cancelled(claim.job_id)


_AVAILABLE = or_(jobs.c.available_at.is_(None), jobs.c.available_at <= now())  # not held back after a fault


def _owned(claim: Claim) -> ColumnElement[bool]:
    """The fence."""
    return and_(
        jobs.c.id == claim.job_id,
        PROCESSING,
        jobs.c.worker_id == claim.worker_id,
        jobs.c.attempt == claim.attempt,
    )


def _earlier(a: ColumnElement[Any], b: ColumnElement[Any]) -> ColumnElement[Any]:
    """The smaller of two: SQLite's min() of two and PostgreSQL's least() have no common name."""
    return case((a < b, a), else_=b)
