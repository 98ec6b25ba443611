"""Room in the queue: how many jobs may wait, and how many of one client may be paused.

Paused jobs have no part in the former: they would keep the queue closed to all for as long as one person likes.
"""

from __future__ import annotations

from sqlalchemy import Connection, func, select, text

from app.errors import QueueFull
from app.store.db.schema import PENDING, jobs
from app.store.queue.rows import PAUSED

_LOCK_NUMBER = 0x43594252  # "CYBR": PostgreSQL advisory locks are numbers
_RETRY_AFTER = 60

_WAITING = select(func.count()).select_from(jobs).where(PENDING, jobs.c.lane.in_(list(PAUSED)))
_PAUSED = select(func.count()).select_from(jobs).where(PENDING, jobs.c.lane.in_(list(PAUSED.values())))


def count_waiting(connection: Connection) -> int:
    """Pending jobs of all clients, but for paused ones."""
    return connection.scalar(_WAITING) or 0


def lock_room(connection: Connection) -> None:
    """Let those who put many jobs in the queue follow each other, so that none counts what another is about to add. To
    be called before any row is locked. In SQLite writers are exclusive already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})


def check_room(connection: Connection, more: int, most: int | None, *, paused_of: str | None = None) -> None:
    """Raises QueueFull if with so many `more` jobs more than `most` would wait; with `paused_of`, more than `most` jobs
    of this client would be paused."""
    if most is None or not more:
        return
    if paused_of is None:
        _check_waiting(more, count_waiting(connection), most)
    else:
        _check_paused(more, connection.scalar(_PAUSED.where(jobs.c.client_id == paused_of)) or 0, most)


def _check_waiting(more: int, waiting: int, most: int) -> None:
    if waiting + more > most:
        raise QueueFull(
            f"There is no room for {more:,} more jobs: {waiting:,} are waiting already, and at most {most:,} may"
            " (QUEUE_MAX_PENDING). Send fewer, or wait until some have finished.",
            retry_after=_RETRY_AFTER,
        )


def _check_paused(more: int, paused: int, most: int) -> None:
    if paused + more > most:
        raise QueueFull(
            f"{more:,} more jobs cannot be paused: {paused:,} of yours are already, and at most {most:,} may be"
            " (QUEUE_MAX_PENDING). Resume or cancel a paused batch first.",
            retry_after=_RETRY_AFTER,
        )
