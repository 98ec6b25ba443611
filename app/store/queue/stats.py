"""Figures of the whole installation for monitoring, at a cost that does not grow with history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from app.core.catalog import Lane
from app.core.job import JobStatus
from app.store.db.database import Database, now
from app.store.db.schema import PENDING, PROCESSING, UNDELIVERED, jobs, webhook_deliveries
from app.store.media.outputs import count_outputs
from app.store.ops.counters import Counter, totals
from app.store.queue.batch_progress import count_batches
from app.store.queue.jobs import count_by_lane, count_by_status


@dataclass(frozen=True)
class QueueCounts:
    """Ages are seconds, 0 if nothing waits. `outputs` are `{"count", "bytes"}` of all published outputs."""

    jobs: Mapping[JobStatus, int]
    lanes: Mapping[tuple[Lane, JobStatus], int]  # pending and running
    waiting: Mapping[str, int]  # by model
    running: Mapping[str, int]  # by model
    oldest_job_age: float
    outputs: Mapping[str, int]
    webhooks: int
    oldest_webhook_age: float
    counters: Mapping[Counter, float]
    batches_running: int
    batches_paused: int
    oldest_batch_progress_age: float


class StatsStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self) -> QueueCounts:
        with self._database.read() as connection:
            waiting = list(connection.execute(_WAITING))
            batches_running, batches_paused, batch_age = count_batches(connection)
            webhooks, oldest_webhook = connection.execute(_WEBHOOKS).one()
            return QueueCounts(
                jobs=count_by_status(connection),
                lanes=count_by_lane(connection),
                waiting={row.model_id: row.number for row in waiting},
                running={row.model_id: row.number for row in connection.execute(_RUNNING)},
                oldest_job_age=_age_of(connection, min((row.oldest for row in waiting), default=None)),
                outputs=count_outputs(connection),
                webhooks=webhooks,
                oldest_webhook_age=max(0.0, oldest_webhook or 0.0),
                counters=totals(connection),
                batches_running=batches_running,
                batches_paused=batches_paused,
                oldest_batch_progress_age=batch_age,
            )


def _age_of(connection: Connection, seq: int | None) -> float:
    """Seconds since the job `seq` was submitted."""
    if seq is None:
        return 0.0
    return max(0.0, connection.scalar(select(now() - jobs.c.created_at).where(jobs.c.seq == seq)) or 0.0)


# The oldest by seq, not by time: seq is in the index, so no row has to be read.
_WAITING = (
    select(jobs.c.model_id, func.count().label("number"), func.min(jobs.c.seq).label("oldest"))
    .where(PENDING)
    .group_by(jobs.c.model_id)
)
_RUNNING = select(jobs.c.model_id, func.count().label("number")).where(PROCESSING).group_by(jobs.c.model_id)
_WEBHOOKS = select(func.count(), now() - func.min(webhook_deliveries.c.due_at)).where(UNDELIVERED)
