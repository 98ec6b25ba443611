"""Predictions at providers. Writes by a worker about its job are fenced; a provider's report about a prediction is
valid whichever worker owns the job, and is stored by any process that receives it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, case, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from app.core.job import Claim
from app.core.prediction import NO_FILE, Prediction, PredictionStatus, Report
from app.errors import LeaseLost
from app.store.db.database import Database, now
from app.store.db.ids import new_id
from app.store.db.schema import ENDED, OPEN, jobs, predictions
from app.store.ops.counters import Counter, count
from app.store.queue.rows import OWNED, fence

_IDS_AT_A_TIME = 500  # databases bound the parameters of a statement

ERROR_MAX_CHARS = 2000


class AlreadyTaken(Exception):
    """Another job has claimed this prediction after a crash."""


class PredictionStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def of_job(self, job_id: str) -> Prediction | None:
        """The current prediction: the newest that is not superseded."""
        with self._database.read() as connection:
            return newest_of(connection, job_id)

    # --- by the worker that owns the job

    def intend(self, claim: Claim, *, source: str, model: str, input: Mapping[str, Any]) -> Prediction:
        """Store that `input` is about to be sent; durable. Raises LeaseLost."""
        with self._database.write() as connection:
            _check_owned(connection, claim)
            made = insert(predictions).values(
                id=new_id(),
                job_id=claim.job_id,
                source=source,
                model=model,
                status=PredictionStatus.INTENDED.value,
                input=dict(input),
                outputs=[],
                created_at=now(),
            )
            row_id = connection.execute(made.returning(predictions.c.id)).scalar_one()
            row = connection.execute(select(*_COLUMNS).where(predictions.c.id == row_id)).one()
        return _prediction(row)

    def created(self, claim: Claim, prediction: Prediction, provider_id: str) -> None:
        """Store the provider's id; durable.

        It is stored even if the lease was lost meanwhile, for the job's new worker; then LeaseLost is raised. Raises
        AlreadyTaken if another job has this id.
        """
        try:
            with self._database.write() as connection:
                connection.execute(
                    update(predictions)
                    .where(predictions.c.id == prediction.id, predictions.c.provider_id.is_(None))
                    .values(provider_id=provider_id, status=PredictionStatus.STARTING.value)
                )
                lost = connection.execute(_TOUCH, fence(claim)).one_or_none() is None
        except IntegrityError:
            raise AlreadyTaken(provider_id) from None
        if lost:
            raise LeaseLost(claim.job_id)

    def note_download(self, claim: Claim, prediction: Prediction, *, retries: int, error: str | None) -> None:
        """Store the state of its file downloads: attempt number `retries` + 1, and the last attempt's `error`."""
        noted = {"download_attempted": True, "download_retries": retries, "download_error": error}
        with self._database.write(durable=False) as connection:
            _check_owned(connection, claim)
            this = predictions.c.id == prediction.id
            again = retries - (connection.scalar(select(predictions.c.download_retries).where(this)) or 0)
            connection.execute(update(predictions).where(this).values(**noted))
            if again > 0:
                counter = Counter("remote_download_retries", claim.request.model_id, prediction.source)
                count(connection, {counter: float(again)})

    # --- by any process that receives a report

    def taken(self, source: str, provider_ids: list[str]) -> set[str]:
        """Those of `provider_ids` that belong to a job already."""
        known = and_(predictions.c.source == source, predictions.c.provider_id.in_(provider_ids))
        with self._database.read() as connection:
            return set(connection.scalars(select(predictions.c.provider_id).where(known)))

    def asked_before(self, job_ids: Sequence[str]) -> set[str]:
        """Those of `job_ids` that a provider was asked for: retrying another one is not charged again."""
        found: set[str] = set()
        with self._database.read() as connection:
            for start in range(0, len(job_ids), _IDS_AT_A_TIME):
                some = predictions.c.job_id.in_(job_ids[start : start + _IDS_AT_A_TIME])
                found.update(connection.scalars(select(predictions.c.job_id).where(some)))
        return found

    def observed(self, source: str, report: Report, *, intent: str | None = None) -> str | None:
        """Store the provider's report. Returns the job's id, None if the prediction is unknown.

        An ended prediction keeps its state, whatever arrives late. `intent` is our id for it, if the provider returns
        it: then the provider's id is stored by this, too.
        """
        with self._database.write() as connection:
            ours = and_(predictions.c.source == source, predictions.c.provider_id == report.provider_id)
            job_id: str | None = connection.scalar(select(predictions.c.job_id).where(ours))
            if job_id is None and intent is not None:
                unnamed = and_(predictions.c.id == intent, predictions.c.provider_id.is_(None))
                job_id = connection.scalar(
                    update(predictions)
                    .where(unnamed, predictions.c.source == source)
                    .values(provider_id=report.provider_id)
                    .returning(predictions.c.job_id)
                )
            if job_id is not None:
                _store_report(connection, ours, source, job_id, report)
        return job_id

    # --- abandoned predictions

    def abandoned(self, source: str, limit: int = 20) -> list[Prediction]:
        """Running predictions that are not wanted any more: their job has ended, or a retry has superseded them."""
        # Not a join: SQLite would start with all ended jobs.
        over = exists().where(jobs.c.id == predictions.c.job_id, ENDED)
        query = (
            select(*_COLUMNS)
            .where(OPEN, predictions.c.source == source, or_(predictions.c.superseded, over))
            .order_by(predictions.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [_prediction(row) for row in connection.execute(query)]

    def lost(self, prediction: Prediction) -> None:
        """Record that the provider has no such prediction. One that turns up late all the same is abandoned again."""
        nothing = {"status": PredictionStatus.ABORTED.value, "superseded": True}
        with self._database.write(durable=False) as connection:
            connection.execute(update(predictions).where(predictions.c.id == prediction.id, OPEN).values(**nothing))


def newest_of(connection: Connection, job_id: str) -> Prediction | None:
    row = connection.execute(_NEWEST, {"job": job_id}).one_or_none()
    return None if row is None else _prediction(row)


def supersede_for_retry(connection: Connection, job_id: str, *, cancelled: bool) -> bool:
    """Supersede predictions that ended without a result, so that a retry creates a new one. Returns whether the
    provider will be asked again: then, and where it answered with images themselves, which are not kept.

    Those with a result are kept, whatever became of its files: only a new submission pays again. So are those whose end
    is unknown, unless the job was `cancelled`: then they are being cancelled, too.
    """
    ended = predictions.c.status.in_(["failed", "canceled", "aborted"])
    useless = ended | ((predictions.c.status == "succeeded") & (predictions.c.download_error == NO_FILE))
    if cancelled:
        useless |= OPEN
    own = predictions.c.job_id == job_id
    connection.execute(update(predictions).where(own, useless).values(superseded=True))
    asked_before = connection.scalar(select(predictions.c.id).where(own).limit(1)) is not None
    newest = newest_of(connection, job_id)
    return asked_before and (newest is None or (newest.status is PredictionStatus.SUCCEEDED and not newest.outputs))


def _check_owned(connection: Connection, claim: Claim) -> None:
    if connection.execute(_TOUCH, fence(claim)).one_or_none() is None:
        raise LeaseLost(claim.job_id)


def _store_report(connection: Connection, ours: Any, source: str, job_id: str, report: Report) -> None:
    values: dict[str, Any] = {"status": report.status.value}
    if report.status.terminal:
        values |= {
            "outputs": list(report.outputs),
            "error": (report.error or "")[:ERROR_MAX_CHARS] or None,
            "predict_seconds": report.predict_seconds,
            "ended_at": now(),
        }
    if report.outputs and report.status is PredictionStatus.SUCCEEDED:
        values["superseded"] = False  # it was given up too early; a retry finds it
    later = OPEN if report.status is not PredictionStatus.STARTING else predictions.c.status == "intended"
    later = or_(later, _LOST)
    changed = and_(ours, later, predictions.c.status != report.status.value)
    if connection.execute(update(predictions).where(changed).values(**values)).rowcount:
        model_id = connection.scalar(
            update(jobs).where(jobs.c.id == job_id).values(revision=jobs.c.revision + 1).returning(jobs.c.model_id)
        )
        if report.status.terminal and model_id is not None:
            counted = {Counter("remote_predictions", model_id, f"{source}/{report.status}"): 1.0}
            if report.predict_seconds:
                counted[Counter("remote_predict_seconds", model_id, source)] = report.predict_seconds
            count(connection, counted)


_LOST = and_(predictions.c.status == PredictionStatus.ABORTED.value, predictions.c.superseded)  # it may turn up late
_TOUCH = update(jobs).where(OWNED).values(revision=jobs.c.revision + 1).returning(jobs.c.seq)
_KEPT = (
    *("id", "job_id", "source", "model", "status", "input", "created_at", "provider_id", "outputs", "error"),
    *("predict_seconds", "download_attempted", "download_retries", "download_error"),
)
_ENDED_AT = func.coalesce(predictions.c.ended_at, predictions.c.created_at)
_COLUMNS = (
    *(predictions.c[name] for name in _KEPT),
    (now() - predictions.c.created_at).label("age"),
    case((OPEN, None), else_=now() - _ENDED_AT).label("ended_age"),
)
_NEWEST = (
    select(*_COLUMNS)
    .where(predictions.c.job_id == bindparam("job"), predictions.c.superseded.is_(False))
    .order_by(predictions.c.id.desc())
    .limit(1)
)


def _prediction(row: Row[Any]) -> Prediction:
    values = dict(row._mapping)
    return Prediction(**values | {"status": PredictionStatus(row.status), "outputs": tuple(row.outputs)})
