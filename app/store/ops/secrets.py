"""What this installation made up for itself and has to remember: keys that sign."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import select

from app.store.db.database import Database
from app.store.db.schema import secrets
from app.store.db.upsert import insert_into


def secret(database: Database, name: str, make: Callable[[], str]) -> str:
    """The secret called `name`; made by `make` when it is first asked for, and the same in all processes."""
    known = select(secrets.c.value).where(secrets.c.name == name)
    with database.read() as connection:
        value = connection.scalar(known)
    if value is None:
        with database.write() as connection:  # another process may have been first
            new = insert_into(secrets, connection).values(name=name, value=make())
            connection.execute(new.on_conflict_do_nothing())
        with database.read() as connection:
            value = connection.scalar(known)
    return str(value)
