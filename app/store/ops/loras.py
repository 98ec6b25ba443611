"""Registered names of LoRAs, each for a file or repo."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import ColumnElement, delete, func, select

from app.store.db.database import Database, now
from app.store.db.schema import loras
from app.store.db.upsert import insert_into


class LoraStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Mapping[str, str]:
        """The LoRA id of each name, sorted by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(loras.c.name, loras.c.lora_id).order_by(loras.c.name))
            return {row.name: row.lora_id for row in rows}

    def put(self, name: str, lora_id: str) -> None:
        """Set the LoRA id of `name`, replacing an earlier one, in whatever case that was written."""
        with self._database.write() as connection:
            connection.execute(delete(loras).where(_is(name), loras.c.name != name))
            statement = insert_into(loras, connection).values(name=name, lora_id=lora_id, created_at=now())
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"lora_id": lora_id}))

    def remove(self, name: str) -> bool:
        """Delete a name, in any case. Returns whether it existed."""
        with self._database.write() as connection:
            return connection.execute(delete(loras).where(_is(name))).rowcount > 0


def _is(name: str) -> ColumnElement[bool]:
    """In any case; names are ASCII, whose case both databases know."""
    return func.lower(loras.c.name) == name.lower()
