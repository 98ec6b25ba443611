"""Progress of batches, as it is told: by an event at each percent, and one when every job has ended."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, and_, func, select, update

from app.core.batches.batch import Batch, BatchStatus
from app.store.db.database import Database, now
from app.store.db.schema import NOT_ENDED, batches
from app.store.queue.batch_limits import LATE
from app.store.queue.outbox import enqueue_message

PROGRESS, ENDED = "batch.progress", "batch.ended"


class BatchProgressStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, batch: Batch, render: Callable[[Batch, str], str]) -> bool:
        """Note how far `batch` has come, with a webhook message in the same transaction where it is a percent further.
        Returns whether there was something to note. Of two processes that note the same, one does."""
        ended = batch.status is BatchStatus.ENDED
        if not ended and batch.ended == batch.ended_told:
            return False
        seen = and_(batches.c.ended_told == batch.ended_told, batches.c.jobs == batch.jobs)
        values = {"ended_told": batch.ended, "percent_told": batch.percent, "progressed_at": now()}
        if ended:
            values["ended_at"] = now()
        with self._database.write() as connection:
            changed = update(batches).where(batches.c.id == batch.id, NOT_ENDED, seen).values(**values)
            if not connection.execute(changed).rowcount:
                return False
            if batch.webhook_url is not None and (ended or batch.percent > batch.percent_told):
                event = ENDED if ended else PROGRESS
                payload = render(batch, event)
                enqueue_message(connection, batch.id, event, batch.webhook_url, payload, owner=batch.owner)
        return True

    def ages(self) -> tuple[int, int, float]:
        """As `count_batches`."""
        with self._database.read() as connection:
            return count_batches(connection)

    def past_deadline(self) -> list[str]:
        """The ids of batches that have used up their `max_seconds`."""
        with self._database.read() as connection:
            return list(connection.scalars(select(batches.c.id).where(NOT_ENDED, LATE, batches.c.stopped.is_(None))))


def count_batches(connection: Connection) -> tuple[int, int, float]:
    """How many batches run, how many are paused, and the most seconds since one that runs had a job end."""
    running = and_(NOT_ENDED, batches.c.paused_at.is_(None))
    age = func.max(now() - batches.c.progressed_at)
    number, oldest = connection.execute(select(func.count(), age).where(running)).one()
    paused = connection.scalar(select(func.count()).where(NOT_ENDED, batches.c.paused_at.is_not(None)))
    return number, paused or 0, max(0.0, oldest or 0.0)
