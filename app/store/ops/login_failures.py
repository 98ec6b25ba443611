"""Wrong tokens by address, counted by all processes of an installation together.

A row for each bucket: from however many addresses they come, the table stays small, and nothing has to clean it.
"""

from __future__ import annotations

from sqlalchemy import bindparam, case, select

from app.store.db.database import Database, now
from app.store.db.schema import login_failures
from app.store.db.upsert import insert_into

WINDOW_SECONDS = 60.0

_c = login_failures.c
_FRESH = (_c.began_at > now() - WINDOW_SECONDS) & (_c.began_at <= now())  # not one of before the clock was set back
_COUNT = select(_c["count"], _c.began_at + WINDOW_SECONDS - now()).where(_c.bucket == bindparam("own"), _FRESH)


class LoginFailureStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self, bucket: int) -> tuple[int, float]:
        """How many wrong tokens came within the bucket's minute, and the seconds until it is over. Raises
        DatabaseUnavailable."""
        with self._database.read() as connection:
            row = connection.execute(_COUNT, {"own": bucket}).one_or_none()
        return (0, 0.0) if row is None else (int(row[0]), float(row[1]))

    def add(self, bucket: int) -> None:
        """Count a wrong token. Not durable. Raises DatabaseUnavailable."""
        with self._database.write(durable=False) as connection:
            first = insert_into(login_failures, connection).values(bucket=bucket, began_at=now(), count=1)
            more, since = case((_FRESH, _c["count"] + 1), else_=1), case((_FRESH, _c.began_at), else_=now())
            again = {"count": more, "began_at": since}
            connection.execute(first.on_conflict_do_update(index_elements=["bucket"], set_=again))

    def clear(self) -> None:
        """Forget all."""
        with self._database.write(durable=False) as connection:
            connection.execute(login_failures.delete())
