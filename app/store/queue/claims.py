"""What workers do to the queue: claim, heartbeat, progress, complete, fail, release, and the rescue of lost leases.

Every write here is fenced: `worker_id` and `attempt` stand in its WHERE. No row changed means the lease is lost, and
the worker must stop and touch nothing else. `attempt` only ever grows, so an old owner can never look like the new one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Double, Integer, Row, bindparam, case, func, insert, select, update

from app.core.catalog import Lane
from app.core.job import Claim, JobStatus, Phase, Progress
from app.core.output import Output
from app.core.safety import SafetyResult
from app.core.search import folded
from app.errors import Cancelled, CyberImageError, LeaseLost
from app.store.db.clock import now
from app.store.db.database import Database
from app.store.db.schema import PENDING, jobs, outputs
from app.store.queue.batching import MERGEABLE, batchable
from app.store.queue.durations import learn
from app.store.queue.fence import OWNED, fence
from app.store.queue.lease_expiry import (
    BACKOFF_DOUBLINGS,
    BACKOFF_MAX_SECONDS,
    BACKOFF_SECONDS,
    after_a_fault,
    earlier,
    expire_leases,
)
from app.store.queue.next_job import AVAILABLE, pick_next
from app.store.queue.outbox import enqueue_webhooks
from app.store.queue.rows import REQUEST_COLUMNS, job_from_row, request_from_row

__all__ = ["BACKOFF_DOUBLINGS", "BACKOFF_MAX_SECONDS", "BACKOFF_SECONDS", "ClaimStore", "HeartbeatResult"]


@dataclass(frozen=True)
class HeartbeatResult:
    """What a heartbeat learned about one job: whether we still own it, and whether somebody cancelled it."""

    owned: bool
    cancel_requested: bool


class ClaimStore:
    """`lease_seconds` is how long a claim lasts without a heartbeat, `timeout_seconds` how long an attempt may last."""

    def __init__(self, database: Database, *, lease_seconds: float, timeout_seconds: float) -> None:
        self._database = database
        self._lease = lease_seconds
        self._timeout = timeout_seconds
        self._busy: set[Lane] = set()  # where something waited when we last asked

    def claim(self, worker_id: str, loaded: Collection[str] = (), *, lane: Lane = "local") -> Claim | None:
        """Take the job of `lane` that is to run next on a worker that holds the models `loaded`; None when nothing
        waits there."""
        if lane not in self._busy and not self._anything_waits(lane):  # an idle poll must not take the write lock
            return None
        with self._database.write() as connection:
            job_id = pick_next(connection, loaded, lane)
            if job_id is None:
                self._busy.discard(lane)
                return None
            self._busy.add(lane)
            row = connection.execute(_TAKE, {"chosen": job_id, **self._taking(worker_id)}).one_or_none()
        if row is None:  # PostgreSQL: somebody else changed it between the look and the update
            return None
        return self._claim(row, worker_id)

    def claim_alike(self, first: Claim, most: int) -> Sequence[Claim]:
        """Take up to `most` more jobs that can be drawn in one call with `first`, in the order they wait. What somebody
        else has taken since we looked stays theirs."""
        with self._database.read() as connection:
            chosen = batchable(connection, first, most)
        if not chosen:
            return []
        with self._database.write() as connection:
            rows = connection.execute(_TAKE_ALIKE, {"chosen": chosen, **self._taking(first.worker_id)}).all()
        claims = [self._claim(row, first.worker_id) for row in rows]
        return sorted(claims, key=lambda claim: chosen.index(claim.job_id))

    def _taking(self, worker_id: str) -> dict[str, Any]:
        return {"worker_id": worker_id, "lease": min(self._lease, self._timeout), "timeout": self._timeout}

    def _claim(self, row: Row[Any], worker_id: str) -> Claim:
        return Claim(
            job_id=row.id,
            worker_id=worker_id,
            attempt=row.attempt,
            max_attempts=row.max_attempts,
            request=request_from_row(row),
            deadline_in=self._timeout,
            queued_seconds=max(0.0, row.started_at - (row.available_at or row.created_at)),
            request_id=row.request_id,
        )

    def _anything_waits(self, lane: Lane) -> bool:
        with self._database.read() as connection:
            return connection.scalar(_ANYTHING, {"lane": lane}) is not None

    def heartbeat(self, claims: Sequence[Claim]) -> Mapping[str, HeartbeatResult]:
        """Extend the leases of `claims`, never past their deadlines; by job id, what became of each."""
        found: dict[str, HeartbeatResult] = {
            claim.job_id: HeartbeatResult(owned=False, cancel_requested=False) for claim in claims
        }
        with self._database.write(durable=False) as connection:
            for claim in claims:
                row = connection.execute(_BEAT, {"lease": self._lease, **fence(claim)}).one_or_none()
                if row is not None:
                    found[claim.job_id] = HeartbeatResult(owned=True, cancel_requested=row.cancel_requested)
        return found

    def look(self, claim: Claim) -> HeartbeatResult:
        """Whether the job is still ours, and whether to stop. Writes nothing."""
        with self._database.read() as connection:
            row = connection.execute(_LOOK, fence(claim)).one_or_none()
        return HeartbeatResult(row is not None, bool(row and row.cancel_requested))

    def progress(self, claim: Claim, progress: Progress) -> HeartbeatResult:
        """Write down how far the job is. Not durable: a power cut may lose it, and nobody was promised it."""
        with self._database.write(durable=False) as connection:
            changes: dict[str, Any] = {"phase": progress.phase.value, "step": progress.step}
            changes |= {"downloaded_bytes": progress.downloaded_bytes, "total_bytes": progress.total_bytes}
            if progress.seconds_per_step is not None:
                changes["seconds_per_step"] = progress.seconds_per_step
            if progress.total_steps:
                changes["total_steps"] = progress.total_steps
            row = connection.execute(_PROGRESS, changes | fence(claim)).one_or_none()
        return HeartbeatResult(row is not None, bool(row and row.cancel_requested))

    def complete(
        self,
        claim: Claim,
        published: Sequence[Output],
        *,
        timings: Mapping[str, float],
        warnings: Sequence[str] = (),
        vram_peak_bytes: int = 0,
        total_steps: int | None = None,
        safety: SafetyResult = SafetyResult.SKIPPED,
        merged: int = 1,
    ) -> None:
        """Publish: the output rows and COMPLETED, together, on the disk when this returns. `total_steps` are the steps
        that really happened, None when that is not known. `merged` jobs shared the time in `timings`.

        Raises LeaseLost when the job is no longer ours, Cancelled when a cancel came first; nothing is written then.
        After DatabaseUnavailable nobody knows whether the commit happened: ask again with the same outputs, it does no
        harm. Never delete their files on any other word than LeaseLost or Cancelled.
        """
        if not published or any(output.job_id != claim.job_id for output in published):
            raise ValueError("a job is completed with outputs, and with its own")
        with self._database.write() as connection:
            measured = {
                "timings": dict(timings),
                "vram_peak_bytes": vram_peak_bytes,
                "safety_filter_result": safety.value,
                "steps": total_steps,
            }
            row = connection.execute(_COMPLETE, {**measured, **fence(claim)}).one_or_none()
            if row is None:
                _explain_refusal(connection, claim, published)
                return
            told = list(dict.fromkeys([*row.warnings, *warnings]))
            if told != row.warnings:
                connection.execute(update(jobs).where(jobs.c.id == claim.job_id).values(warnings=told))
            more = {"owner": row.client_id, "search_text": folded(claim.request.prompt)}
            connection.execute(_PUBLISH, [_values(output) | more for output in published])
            learn(connection, claim.request, timings, merged)
            if row.webhook_url is not None:
                whole = connection.execute(select(jobs).where(jobs.c.id == claim.job_id)).one()
                enqueue_webhooks(connection, job_from_row(whole), published)

    def fail(self, claim: Claim, error: CyberImageError, *, retry_in: float | None = None) -> JobStatus:
        """End the attempt with `error`. With `retry_in` (seconds, at most BACKOFF_MAX_SECONDS) the job waits and is
        tried again, if it has attempts left. Gives its new state.

        A job that somebody cancelled meanwhile is CANCELLED instead. Raises LeaseLost.
        """
        if retry_in is None:
            fate = case((jobs.c.cancel_requested, JobStatus.CANCELLED.value), else_=JobStatus.FAILED.value)
        else:
            fate = after_a_fault()
        waits = fate == JobStatus.PENDING.value
        row = self._end(
            claim,
            status=fate,
            error_code=case((jobs.c.cancel_requested, None), else_=error.code),
            error_message=case((jobs.c.cancel_requested, None), else_=error.detail),
            completed_at=case((waits, None), else_=now()),
            available_at=case((waits, now() + (retry_in or 0.0)), else_=None),
            worker_id=None,
            lease_expires_at=None,
        )
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
        """Take every job whose lease has run out away from its worker; gives their rows. See `lease_expiry`."""
        with self._database.write() as connection:
            rescued = expire_leases(connection, lease_seconds=self._lease, timeout_seconds=self._timeout)
            for row in rescued:
                enqueue_webhooks(connection, job_from_row(row))
        return rescued

    def _end(self, claim: Claim, **values: Any) -> Row[Any]:
        with self._database.write() as connection:
            statement = update(jobs).where(OWNED).values(revision=jobs.c.revision + 1, **values).returning(jobs)
            row = connection.execute(statement, fence(claim)).one_or_none()
            if row is not None:
                enqueue_webhooks(connection, job_from_row(row))
        if row is None:
            raise LeaseLost(claim.job_id)
        return row


def _values(output: Output) -> dict[str, Any]:
    return {name: value for name, value in vars(output).items() if name != "created_at"}


def _explain_refusal(connection: Connection, claim: Claim, published: Sequence[Output]) -> None:
    """Why complete changed no row: it was done before, and only its answer was lost; or it may not be done."""
    if connection.execute(_LOOK, fence(claim)).one_or_none() is not None:
        raise Cancelled(claim.job_id)
    ids = [output.id for output in published]
    if connection.scalar(select(func.count()).select_from(outputs).where(outputs.c.id.in_(ids))) != len(ids):
        raise LeaseLost(claim.job_id)


# The statements that every job needs are built once: building one costs as much as running it.

_ANYTHING = select(jobs.c.seq).where(PENDING, jobs.c.lane == bindparam("lane"), AVAILABLE).limit(1)

_TAKING = (
    update(jobs)
    .values(
        status=JobStatus.PROCESSING.value,
        attempt=jobs.c.attempt + 1,
        overtaken_at=None,
        started_at=now(),
        heartbeat_at=now(),
        lease_expires_at=now() + bindparam("lease", type_=Double),
        deadline_at=now() + bindparam("timeout", type_=Double),
        phase=Phase.STARTING.value,
        step=0,
        seconds_per_step=None,
        downloaded_bytes=None,
        total_bytes=None,
        error_code=None,
        error_message=None,
        revision=jobs.c.revision + 1,
    )
    .returning(  # no more than a Claim holds: the rest would be fetched and decoded for nothing
        *REQUEST_COLUMNS,
        jobs.c.id,
        jobs.c.attempt,
        jobs.c.max_attempts,
        jobs.c.request_id,
        jobs.c.started_at,
        jobs.c.available_at,
        jobs.c.created_at,
    )
)
_TAKE = _TAKING.where(jobs.c.id == bindparam("chosen"), PENDING)
_STILL_THERE = (
    select(jobs.c.id)
    .where(jobs.c.id.in_(bindparam("chosen", expanding=True)), MERGEABLE)
    .with_for_update(skip_locked=True)  # PostgreSQL: two workers that want the same jobs must not wait for each other
    .correlate(None)
)
_TAKE_ALIKE = _TAKING.where(jobs.c.id.in_(_STILL_THERE))

_LOOK = select(jobs.c.cancel_requested).where(OWNED)

_BEAT = (
    update(jobs)
    .where(OWNED, now() < jobs.c.deadline_at)
    .values(
        heartbeat_at=now(),
        lease_expires_at=earlier(now() + bindparam("lease", type_=Double), jobs.c.deadline_at),
    )
    .returning(jobs.c.cancel_requested)
)

_PROGRESS = update(jobs).where(OWNED).values(revision=jobs.c.revision + 1).returning(jobs.c.cancel_requested)

_STEPS = func.coalesce(bindparam("steps", type_=Integer), jobs.c.total_steps)

_COMPLETE = (
    update(jobs)
    .where(OWNED, jobs.c.cancel_requested.is_(False))
    .values(
        status=JobStatus.COMPLETED.value,
        completed_at=now(),
        phase=Phase.DONE.value,
        step=_STEPS,
        total_steps=_STEPS,
        revision=jobs.c.revision + 1,
    )
    .returning(jobs.c.warnings, jobs.c.webhook_url, jobs.c.client_id)
)

_PUBLISH = insert(outputs).values(created_at=now())
