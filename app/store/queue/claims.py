"""The queue for workers: claim, heartbeat, progress, complete, fail, release, and expiry of leases.

All writes here are fenced: `worker_id` and `attempt` are in their WHERE. No row changed means the lease is lost, and
the worker must stop and touch nothing else. `attempt` only grows, so an old owner is never mistaken for the new one.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Double, Integer, Row, bindparam, case, func, insert, select, update

from app.core.assignment import Judge
from app.core.catalog import Lane
from app.core.job import Claim, JobStatus, Phase, Progress
from app.core.output import Output
from app.core.prompts import folded
from app.core.safety import SafetyResult
from app.core.scheduling import Selection
from app.core.scheduling import select as select_job
from app.errors import Cancelled, CyberImageError, LeaseLost
from app.store.db.database import Database, now
from app.store.db.prepared import Prepared
from app.store.db.schema import NO_SEED, PENDING, jobs, outputs
from app.store.media.lineage import store_sources
from app.store.queue.classes import WaitingClasses, heads
from app.store.queue.durations import update_durations
from app.store.queue.lease_expiry import (
    BACKOFF_DOUBLINGS,
    BACKOFF_MAX_SECONDS,
    BACKOFF_SECONDS,
    backoff_after,
    earlier,
    expire_leases,
    status_after_failure,
    status_after_interruption,
)
from app.store.queue.next_job import (
    MERGEABLE,
    NotInOrder,
    bound_for,
    first_of_class,
    mark_overtaken,
    peek,
    pick_next,
    to_merge,
)
from app.store.queue.outbox import WebhookRenderer, enqueue_webhooks
from app.store.queue.rows import OWNED, REQUEST_COLUMNS, fence, job_from_row, request_from_row

__all__ = ["BACKOFF_DOUBLINGS", "BACKOFF_MAX_SECONDS", "BACKOFF_SECONDS", "ClaimStore", "HeartbeatResult"]

_MANY = 256  # classes: a look at more that found nothing is followed by a pause of so many times its duration
_REST = 10
_LONGEST_REST_SECONDS = 10.0
_TRIES = 3  # to take the first job of a class before others do


@dataclass(frozen=True)
class HeartbeatResult:
    """Result of a heartbeat for one job: is it still owned, and was it cancelled?"""

    owned: bool
    cancel_requested: bool


class ClaimStore:
    """`lease_seconds`: how long a claim lasts without a heartbeat; `timeout_seconds`: the hard limit of an
    attempt, grace included, to which `load_seconds` are added in the local lane, until the model is loaded.
    `render_webhook` makes the webhook message about a job that has ended."""

    def __init__(
        self,
        database: Database,
        *,
        render_webhook: WebhookRenderer,
        lease_seconds: float,
        timeout_seconds: float,
        load_seconds: float = 0.0,
    ) -> None:
        self._database = database
        self._render = render_webhook
        self._lease = lease_seconds
        self._timeout = timeout_seconds
        self._load_seconds = load_seconds
        self._classes = WaitingClasses()
        self._busy: set[Lane] = set()  # lanes with pending jobs at the last claim
        self._rest_until = 0.0
        self._selective: set[tuple[Lane, str]] = set()  # workers that had to choose by class at their last claim

    def claim(
        self,
        worker_id: str,
        loaded: Collection[str] = (),
        *,
        lane: Lane = "local",
        judge: Judge | None = None,
    ) -> Claim | None:
        """Claim the next job of `lane` for a worker that has the models `loaded` in memory; None if no job is
        available. `judge` says of what jobs need whether the worker can run them, and whether it leaves them to others
        for a while; without one it takes all."""
        if lane not in self._busy and not self._has_pending(loaded, lane, judge):
            return None  # an idle poll must not take the write lock
        row = None
        if (lane, worker_id) not in self._selective:
            try:
                with self._database.write() as connection:
                    patience = None if judge is None else self._classes.patience(connection, lane, judge)
                    job_id = pick_next(connection, loaded, lane, patience)
                    row = self._take(connection, job_id, worker_id, lane)
            except NotInOrder:
                self._selective.add((lane, worker_id))
        if judge is not None and (lane, worker_id) in self._selective:
            row = self._take_by_class(worker_id, loaded, lane, judge)
        return None if row is None else self._claim(row, worker_id, lane)

    def _take_by_class(self, worker_id: str, loaded: Collection[str], lane: Lane, judge: Judge) -> Any:
        """For a worker to which not every job can be given in its turn. It is decided without the write lock, and what
        was chosen is then the first of its class, whichever that is by now."""
        for _ in range(_TRIES):
            with self._database.read() as connection:
                selection, in_order, _ = self._select(connection, loaded, lane, judge)
            if in_order:
                self._selective.discard((lane, worker_id))
            chosen, passed = selection.chosen, [each for each in selection.overtaken if not each.overtaken_for]
            if chosen is None and not passed:
                break
            with self._database.write() as connection:
                mark_overtaken(connection, passed)
                found = None
                if chosen is not None:
                    found = first_of_class(connection, lane, chosen.needs or chosen.model_id)
                row = self._take(connection, None if found is None else found.job_id, worker_id, lane)
            if row is not None or chosen is None:
                return row
        self._busy.discard(lane)
        return None

    def _select(
        self, connection: Connection, loaded: Collection[str], lane: Lane, judge: Judge
    ) -> tuple[Selection, bool, int]:
        """What a worker takes and passes over; whether it could as well have taken the queue as it is; and of how many
        classes."""
        found, patience = heads(connection, lane), self._classes.patience(connection, lane, judge)
        self._classes.learn(connection, found)
        selection = select_job(found, patience, loaded, bound_for(connection))
        return selection, all(patience(each) == 0.0 for each in found), len(found)

    def _take(self, connection: Connection, job_id: str | None, worker_id: str, lane: Lane) -> Any:
        """The row of the job, now this worker's; None if there is none. On PostgreSQL it may have changed between the
        SELECT and the UPDATE."""
        if job_id is None:
            self._busy.discard(lane)
            return None
        self._busy.add(lane)
        return _TAKE.first(connection, {"chosen": job_id, **self._claim_values(worker_id, lane)})

    def claim_to_merge(self, first: Claim, most: int) -> Sequence[Claim]:
        """Claim up to `most` more jobs that can be merged into one call with `first`, in queue order. Jobs that other
        workers have claimed meanwhile are left out."""
        with self._database.read() as connection:
            chosen = to_merge(connection, first, most)
        if not chosen:
            return []
        with self._database.write() as connection:
            rows = connection.execute(
                _TAKE_BATCH, {"chosen": chosen, **self._claim_values(first.worker_id, "local")}
            ).all()
        claims = [self._claim(row, first.worker_id, "local") for row in rows]
        return sorted(claims, key=lambda claim: chosen.index(claim.job_id))

    def _load_limit(self, lane: Lane) -> float:
        return self._load_seconds if lane == "local" else 0.0  # a provider's model is not loaded here

    def _claim_values(self, worker_id: str, lane: Lane) -> dict[str, Any]:
        timeout = self._timeout + self._load_limit(lane)
        return {"worker_id": worker_id, "lease": min(self._lease, timeout), "timeout": timeout}

    def _claim(self, row: Row[Any], worker_id: str, lane: Lane) -> Claim:
        return Claim(
            job_id=row.id,
            worker_id=worker_id,
            attempt=row.attempt,
            max_attempts=row.max_attempts,
            request=request_from_row(row),
            deadline_in=self._timeout + self._load_limit(lane),
            load_seconds=self._load_limit(lane),
            queued_seconds=max(0.0, row.started_at - (row.available_at or row.created_at)),
            request_id=row.request_id,
            traceparent=row.traceparent,
        )

    def _has_pending(self, loaded: Collection[str], lane: Lane, judge: Judge | None) -> bool:
        """Whether there is something to write: a job to take, or one to pass over from now on."""
        with self._database.read() as connection:
            first = peek(connection, lane)
            if judge is None or first is None:
                return first is not None
            if self._classes.patience(connection, lane, judge)(first) == 0.0:
                return True
            if time.monotonic() < self._rest_until:
                return False
            began = time.monotonic()
            selection, _, number = self._select(connection, loaded, lane, judge)
        if selection.chosen is not None or any(not each.overtaken_for for each in selection.overtaken):
            return True
        if number > _MANY:
            self._rest_until = time.monotonic() + min(_REST * (time.monotonic() - began), _LONGEST_REST_SECONDS)
        return False

    def heartbeat(self, claims: Sequence[Claim]) -> Mapping[str, HeartbeatResult]:
        """Extend the leases of `claims`, never past their deadlines. Returns the result by job id."""
        found: dict[str, HeartbeatResult] = {
            claim.job_id: HeartbeatResult(owned=False, cancel_requested=False) for claim in claims
        }
        with self._database.write(durable=False) as connection:
            for claim in claims:
                row = connection.execute(_HEARTBEAT, {"lease": self._lease, **fence(claim)}).one_or_none()
                if row is not None:
                    found[claim.job_id] = HeartbeatResult(owned=True, cancel_requested=row.cancel_requested)
        return found

    def check(self, claim: Claim) -> HeartbeatResult:
        """As `heartbeat`, without writing."""
        with self._database.read() as connection:
            row = connection.execute(_CHECK, fence(claim)).one_or_none()
        return HeartbeatResult(row is not None, bool(row and row.cancel_requested))

    def progress(self, claim: Claim, progress: Progress, *, deadline_in: float | None = None) -> HeartbeatResult:
        """Store the job's progress. Not durable: a power cut may lose it. With `deadline_in` (seconds from now) its
        deadline moves, and its lease ends no later."""
        with self._database.write(durable=False) as connection:
            changes: dict[str, Any] = {"phase": progress.phase.value, "step": progress.step}
            changes |= {"downloaded_bytes": progress.downloaded_bytes, "total_bytes": progress.total_bytes}
            if progress.seconds_per_step is not None:
                changes["seconds_per_step"] = progress.seconds_per_step
            if progress.total_steps:
                changes["total_steps"] = progress.total_steps
            if deadline_in is not None:
                changes["deadline_in"] = deadline_in
            statement = _PROGRESS if deadline_in is None else _PROGRESS_AND_DEADLINE
            row = connection.execute(statement, changes | fence(claim)).one_or_none()
        return HeartbeatResult(row is not None, bool(row and row.cancel_requested))

    def complete(
        self,
        claim: Claim,
        published: Sequence[Output],
        *,
        timings: Mapping[str, float],
        warnings: Sequence[str] = (),
        vram_peak_bytes: int | None = None,
        total_steps: int | None = None,
        safety: SafetyResult = SafetyResult.SKIPPED,
        merged: int = 1,
    ) -> None:
        """Publish: output rows and COMPLETED in one durable transaction. `total_steps` is the number of steps actually
        run, None if unknown. `merged` jobs shared the time in `timings`.

        Raises LeaseLost if the job is owned by another attempt, Cancelled if a cancel came first; nothing is written
        then. After DatabaseUnavailable the commit may or may not have happened: repeat with the same outputs, which is
        safe. Delete their files only after LeaseLost or Cancelled.
        """
        if not published or any(output.job_id != claim.job_id for output in published):
            raise ValueError("a job needs outputs to be completed, all with its own job_id")
        with self._database.write() as connection:
            measured = {
                "timings": dict(timings),
                "vram_peak_bytes": vram_peak_bytes,
                "safety_filter_result": safety.value,
                "steps": total_steps,
            }
            row = _COMPLETE.first(connection, {**measured, **fence(claim)})
            if row is None:
                _explain_refusal(connection, claim, published)
                return
            all_warnings = list(dict.fromkeys([*row.warnings, *warnings]))
            if all_warnings != row.warnings:
                connection.execute(update(jobs).where(jobs.c.id == claim.job_id).values(warnings=all_warnings))
            more = {"owner": row.client_id, "search_text": folded(claim.request.prompt)}
            _PUBLISH.many(connection, [_values(output) | more for output in published])
            store_sources(connection, claim.request, published)
            update_durations(connection, claim.request, timings, merged)
            if row.webhook_url is not None:
                whole = connection.execute(select(jobs).where(jobs.c.id == claim.job_id)).one()
                enqueue_webhooks(connection, job_from_row(whole), published, render=self._render)

    def fail(
        self, claim: Claim, error: CyberImageError, *, retry_in: float | None = None, counted: bool = True
    ) -> JobStatus:
        """End the attempt with `error`. With `retry_in` (seconds, at most BACKOFF_MAX_SECONDS) the job waits and is
        retried, if it has attempts left; an attempt that is not `counted` uses up none. Returns its new status.

        A job that was cancelled meanwhile becomes CANCELLED instead. Raises LeaseLost.
        """
        if retry_in is None:
            new_status = case((jobs.c.cancel_requested, JobStatus.CANCELLED.value), else_=JobStatus.FAILED.value)
        else:
            new_status = status_after_failure()
        if retry_in is not None and not counted:
            new_status = case((jobs.c.cancel_requested, JobStatus.CANCELLED.value), else_=JobStatus.PENDING.value)
        waits = new_status == JobStatus.PENDING.value
        row = self._end(
            claim,
            status=new_status,
            max_attempts=jobs.c.max_attempts + (0 if counted else 1),
            error_code=case((jobs.c.cancel_requested, None), else_=error.code),
            error_message=case((jobs.c.cancel_requested, None), else_=error.detail),
            completed_at=case((waits, None), else_=now()),
            available_at=case((waits, now() + (retry_in or 0.0)), else_=None),
            worker_id=None,
            lease_expires_at=None,
        )
        return JobStatus(row.status)

    def cancelled(self, claim: Claim) -> None:
        """Mark a job as CANCELLED after the engine stopped because of a cancel. Raises LeaseLost."""
        self._end(claim, status=JobStatus.CANCELLED.value, completed_at=now(), worker_id=None, lease_expires_at=None)

    def release(self, claim: Claim) -> None:
        """Return the job to the queue because the worker stops: the attempt does not count. Raises LeaseLost."""
        self._end(
            claim,
            status=case((jobs.c.cancel_requested, JobStatus.CANCELLED.value), else_=JobStatus.PENDING.value),
            completed_at=case((jobs.c.cancel_requested, now()), else_=None),
            max_attempts=jobs.c.max_attempts + 1,  # attempt itself must never decrease: it is the fence
            worker_id=None,
            lease_expires_at=None,
        )

    def interrupt(self, claim: Claim, error: CyberImageError) -> JobStatus:
        """Return the job to the queue because its device or process failed: the attempt does not count, but after
        MAX_INTERRUPTIONS of them the job is FAILED with `error`. Other jobs go first for a while. Returns its new
        status. Raises LeaseLost."""
        new_status = status_after_interruption()
        waits = new_status == JobStatus.PENDING.value
        row = self._end(
            claim,
            status=new_status,
            error_code=case((jobs.c.cancel_requested, None), else_=error.code),
            error_message=case((jobs.c.cancel_requested, None), else_=error.detail),
            completed_at=case((waits, None), else_=now()),
            available_at=case((waits, now() + backoff_after(jobs.c.interruptions)), else_=None),
            interruptions=jobs.c.interruptions + 1,
            max_attempts=jobs.c.max_attempts + 1,  # as in `release`
            worker_id=None,
            lease_expires_at=None,
        )
        return JobStatus(row.status)

    def expire_leases(self) -> Sequence[Row[Any]]:
        """Take jobs with an expired lease from their workers. Returns their rows. See `lease_expiry`."""
        with self._database.write() as connection:
            expired = expire_leases(
                connection, lease_seconds=self._lease, timeout_seconds=self._timeout + self._load_seconds
            )
            for row in expired:
                enqueue_webhooks(connection, job_from_row(row), render=self._render)
        return expired

    def _end(self, claim: Claim, **values: Any) -> Row[Any]:
        with self._database.write() as connection:
            statement = update(jobs).where(OWNED).values(revision=jobs.c.revision + 1, **values).returning(jobs)
            row = connection.execute(statement, fence(claim)).one_or_none()
            if row is not None:
                enqueue_webhooks(connection, job_from_row(row), render=self._render)
        if row is None:
            raise LeaseLost(claim.job_id)
        return row


def _values(output: Output) -> dict[str, Any]:
    seed = NO_SEED if output.seed is None else output.seed
    return {name: value for name, value in vars(output).items() if name != "created_at"} | {"seed": seed}


def _explain_refusal(connection: Connection, claim: Claim, published: Sequence[Output]) -> None:
    """After `complete` changed no row: return if it was done before and only the answer was lost; else raise why."""
    if connection.execute(_CHECK, fence(claim)).one_or_none() is not None:
        raise Cancelled(claim.job_id)
    ids = [output.id for output in published]
    if connection.scalar(select(func.count()).select_from(outputs).where(outputs.c.id.in_(ids))) != len(ids):
        raise LeaseLost(claim.job_id)


# Statements that every job needs are built once: building one costs as much as running it.

_CLAIM = (
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
    .returning(  # only what a Claim needs: other columns would cost time to fetch and decode
        *REQUEST_COLUMNS,
        jobs.c.id,
        jobs.c.attempt,
        jobs.c.max_attempts,
        jobs.c.request_id,
        jobs.c.traceparent,
        jobs.c.started_at,
        jobs.c.available_at,
        jobs.c.created_at,
    )
)
_TAKE = Prepared(_CLAIM.where(jobs.c.id == bindparam("chosen"), PENDING))
_STILL_PENDING = (
    select(jobs.c.id)
    .where(jobs.c.id.in_(bindparam("chosen", expanding=True)), MERGEABLE)
    .with_for_update(skip_locked=True)  # PostgreSQL: two workers that claim the same jobs must not wait for each other
    .correlate(None)
)
_TAKE_BATCH = _CLAIM.where(jobs.c.id.in_(_STILL_PENDING))

_CHECK = select(jobs.c.cancel_requested).where(OWNED)

_HEARTBEAT = (
    update(jobs)
    .where(OWNED, now() < jobs.c.deadline_at)
    .values(
        heartbeat_at=now(),
        lease_expires_at=earlier(now() + bindparam("lease", type_=Double), jobs.c.deadline_at),
    )
    .returning(jobs.c.cancel_requested)
)

_PROGRESS = update(jobs).where(OWNED).values(revision=jobs.c.revision + 1).returning(jobs.c.cancel_requested)

_DEADLINE = now() + bindparam("deadline_in", type_=Double)
_PROGRESS_AND_DEADLINE = _PROGRESS.values(
    deadline_at=_DEADLINE, lease_expires_at=earlier(jobs.c.lease_expires_at, _DEADLINE)
)

_STEPS = func.coalesce(bindparam("steps", type_=Integer), jobs.c.total_steps)

_COMPLETE = Prepared(
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

_PUBLISH = Prepared(insert(outputs).values(created_at=now()))
