"""Totals for monitoring that only grow. Triggers count job events; workers add what only they can measure.

Losing the last seconds of a killed process is acceptable, so writes are not durable. On PostgreSQL each connection
uses a separate row (`shard`), so that no connection waits for another's commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from app.store.db.database import Database
from app.store.db.schema import counters

SHARDS = 64  # as in migration 0006
_KEY = ["name", "model_id", "detail", "shard"]


class Counter(NamedTuple):
    """`detail` is a further label such as an outcome; empty if there is none."""

    name: str
    model_id: str = ""
    detail: str = ""


class CounterStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, increments: Mapping[Counter, float]) -> None:
        """Add to the counters, in one transaction."""
        if increments:
            with self._database.write(durable=False) as connection:
                count(connection, increments)


def count(connection: Connection, increments: Mapping[Counter, float]) -> None:
    """Add to the counters in the caller's transaction."""
    shard = _shard(connection)
    rows = [{**key._asdict(), "shard": shard, "value": value} for key, value in sorted(increments.items())]
    connection.execute(_ADD[connection.dialect.name], rows)


def totals(connection: Connection) -> dict[Counter, float]:
    """All counters, summed over the shards."""
    return {Counter(*row[:3]): float(row[3]) for row in connection.execute(_TOTALS)}


def _shard(connection: Connection) -> int:
    if connection.dialect.name == "sqlite":
        return 0
    return int(connection.scalar(select(func.pg_backend_pid())) or 0) % SHARDS


def _upsert(dialect: Any) -> Any:
    statement = dialect.insert(counters)
    added = {"value": counters.c.value + statement.excluded.value}
    return statement.on_conflict_do_update(index_elements=_KEY, set_=added)


_ADD = {"sqlite": _upsert(sqlite), "postgresql": _upsert(postgresql)}
_SPLIT = (counters.c.name, counters.c.model_id, counters.c.detail)
_TOTALS = select(*_SPLIT, func.sum(counters.c.value)).group_by(*_SPLIT)
