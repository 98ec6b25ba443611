"""The turn of a new job in the queue: queries what `app.core.scheduling.next_turn` needs.

On PostgreSQL two jobs of one client that are enqueued at the same moment may get the same turn; `seq` still orders
them. A lock would make each enqueue wait for the other's commit, for a difference of one place.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, func, select

from app.core.catalog import Lane
from app.core.scheduling import next_turn
from app.store.db.schema import PENDING, jobs

_line = select(jobs.c.turn).where(PENDING, jobs.c.lane == bindparam("lane"), jobs.c.priority == bindparam("priority"))
_own = _line.where(jobs.c.client_id == bindparam("client")).order_by(jobs.c.turn.desc()).limit(1)
_serving = _line.where(jobs.c.attempt == 0).order_by(jobs.c.turn, jobs.c.seq).limit(1)
_newest = select(func.max(jobs.c.seq))
_TURNS = select(_own.scalar_subquery(), _serving.scalar_subquery(), _newest.scalar_subquery())


def turn_for(connection: Connection, client_id: str, priority: int, lane: Lane) -> int:
    place = {"client": client_id, "priority": priority, "lane": lane}
    own, serving, newest = connection.execute(_TURNS, place).one()
    return next_turn(own, serving, newest or 0)
