"""Names that LoRAs were given by hand, each for what a request would otherwise have to spell out."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import delete, select

from app.store.db.clock import now
from app.store.db.database import Database
from app.store.db.schema import loras
from app.store.db.upsert import insert_into


class LoraStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Mapping[str, str]:
        """What each name stands for, in the order of the names."""
        with self._database.read() as connection:
            rows = connection.execute(select(loras.c.name, loras.c.lora_id).order_by(loras.c.name))
            return {row.name: row.lora_id for row in rows}

    def put(self, name: str, lora_id: str) -> None:
        """Let `name` stand for `lora_id`, whatever it stood for before."""
        with self._database.write() as connection:
            statement = insert_into(loras, connection).values(name=name, lora_id=lora_id, created_at=now())
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"lora_id": lora_id}))

    def remove(self, name: str) -> bool:
        """Forget a name, and say whether it was known."""
        with self._database.write() as connection:
            return connection.execute(delete(loras).where(loras.c.name == name)).rowcount > 0
