"""Schedule of periodic tasks: one process at a time runs each task."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, or_, select, update

from app.store.db.database import Database, now
from app.store.db.schema import periodic_tasks
from app.store.db.upsert import insert_into

_SLACK_SECONDS = 60.0


class PeriodicTaskStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, name: str, every: float) -> bool:
        """Whether the task `name` is due, and claimed for the caller; it is due again in `every` seconds.

        If the caller crashes, the task is not run until then.
        """
        with self._database.read() as connection:  # usually not due: avoids the write lock
            known = connection.scalar(select(periodic_tasks.c.name).where(periodic_tasks.c.name == name))
            if known and connection.scalar(select(periodic_tasks.c.name).where(_due(name, every))) is None:
                return False
        with self._database.write(durable=False) as connection:
            if known is None:
                first = insert_into(periodic_tasks, connection).values(name=name, due_at=now() + every)
                return connection.scalar(first.on_conflict_do_nothing().returning(periodic_tasks.c.name)) is not None
            taken = update(periodic_tasks).where(_due(name, every)).values(due_at=now() + every)
            return connection.execute(taken).rowcount == 1


def _due(name: str, every: float) -> ColumnElement[bool]:
    """Past its time, or so far in the future that the clock must have been set back."""
    late = or_(periodic_tasks.c.due_at <= now(), periodic_tasks.c.due_at > now() + every + _SLACK_SECONDS)
    return and_(periodic_tasks.c.name == name, late)
