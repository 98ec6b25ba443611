"""Expiry of leases of jobs whose worker sends no heartbeats, and the backoff after failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Case, ColumnElement, Connection, Row, case, literal, or_, update

from app.core.job import JobStatus
from app.errors import GenerationTimeout, WorkerDied
from app.store.db.database import now
from app.store.db.schema import PENDING, PROCESSING, jobs

BACKOFF_SECONDS = 2.0  # before the second attempt; doubles with each further one
BACKOFF_DOUBLINGS = 7
MAX_INTERRUPTIONS = 10  # of a job, by devices and by the end of the whole service; MAX_ATTEMPTS counts the others
BACKOFF_MAX_SECONDS = BACKOFF_SECONDS * 2**BACKOFF_DOUBLINGS


TIMED_OUT = jobs.c.lease_expires_at >= jobs.c.deadline_at
_INTERRUPTED = (
    f"{WorkerDied.title}, together with its supervisor or the machine: look at the log of the service, and at what"
    " restarts it."
)


def expire_leases(connection: Connection, *, lease_seconds: float, timeout_seconds: float) -> Sequence[Row[Any]]:
    """Take all jobs with an expired lease from their workers, in one statement. Returns their rows.

    One that reached its deadline used an attempt, and is FAILED `timeout` when none is left. Another was interrupted:
    its worker ended with its supervisor or the whole machine, for a supervisor that lives records the death (see
    `deaths`). That does not count as an attempt, but the job is FAILED `worker_died` after MAX_INTERRUPTIONS.
    """
    _correct_future_times(connection, lease_seconds, timeout_seconds)
    new_status = case((TIMED_OUT, status_after_failure()), else_=status_after_interruption())
    waits = new_status == JobStatus.PENDING.value
    return connection.execute(
        update(jobs)
        .where(PROCESSING, jobs.c.lease_expires_at <= now())
        .values(
            status=new_status,
            error_code=case(
                (jobs.c.cancel_requested, None), (TIMED_OUT, GenerationTimeout.code), else_=WorkerDied.code
            ),
            error_message=case(
                (jobs.c.cancel_requested, None),
                (TIMED_OUT, GenerationTimeout.title + "."),
                else_=_INTERRUPTED,
            ),
            completed_at=case((waits, None), else_=now()),
            available_at=case((waits, now() + backoff_after(jobs.c.attempt - 1)), else_=None),
            interruptions=case((TIMED_OUT, jobs.c.interruptions), else_=jobs.c.interruptions + 1),
            max_attempts=case((TIMED_OUT, jobs.c.max_attempts), else_=jobs.c.max_attempts + 1),
            worker_id=None,
            lease_expires_at=None,
            revision=jobs.c.revision + 1,
        )
        .returning(jobs)
    ).all()


def status_after_failure() -> Case[Any]:
    """The status of a running job after a transient failure: PENDING, unless cancelled or out of attempts."""
    return case(
        (jobs.c.cancel_requested, JobStatus.CANCELLED.value),
        (jobs.c.attempt >= jobs.c.max_attempts, JobStatus.FAILED.value),
        else_=JobStatus.PENDING.value,
    )


def status_after_interruption() -> Case[Any]:
    """The status of a running job after an interruption that was not its fault."""
    return case(
        (jobs.c.cancel_requested, JobStatus.CANCELLED.value),
        (jobs.c.interruptions + 1 >= MAX_INTERRUPTIONS, JobStatus.FAILED.value),
        else_=JobStatus.PENDING.value,
    )


def backoff_after(failures: ColumnElement[Any]) -> ColumnElement[Any]:
    """Seconds before the next attempt: doubled with each of the earlier `failures`."""
    doublings = earlier(failures, literal(BACKOFF_DOUBLINGS))
    return literal(1).bitwise_lshift(doublings) * BACKOFF_SECONDS  # pow() is a compile-time option of SQLite


def earlier(a: ColumnElement[Any], b: ColumnElement[Any]) -> ColumnElement[Any]:
    """The smaller of two: SQLite's min(a, b) and PostgreSQL's least(a, b) have no common name."""
    return case((a < b, a), else_=b)


def _correct_future_times(connection: Connection, lease_seconds: float, timeout_seconds: float) -> None:
    """After a clock was set back: no job may wait or run longer than if its times had been set just now."""
    connection.execute(
        update(jobs).where(PENDING, jobs.c.available_at > now() + BACKOFF_MAX_SECONDS + 1).values(available_at=None)
    )
    lease_end, deadline = now() + lease_seconds, now() + timeout_seconds
    connection.execute(
        update(jobs)
        .where(PROCESSING, or_(jobs.c.lease_expires_at > lease_end + 1, jobs.c.deadline_at > deadline + 1))
        .values(
            lease_expires_at=earlier(jobs.c.lease_expires_at, lease_end),
            deadline_at=earlier(jobs.c.deadline_at, deadline),
        )
    )
