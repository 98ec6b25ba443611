"""Owners of jobs, batches, outputs and deliveries, including removed ones, by one primary key lookup."""

from __future__ import annotations

from sqlalchemy import Column, Table, select

from app.store.db.database import Database
from app.store.db.schema import batches, jobs, outputs, removals, webhook_deliveries


class OwnerStore:
    """All methods return a `client_id`, or None if the id is unknown."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_job(self, job_id: str) -> str | None:
        return self._of(jobs, jobs.c.client_id, job_id)

    def of_output(self, output_id: str) -> str | None:
        return self._of(outputs, outputs.c.owner, output_id)

    def of_generation(self, an_id: str) -> str | None:
        """Of a job or of an output: some routes take both ids."""
        return self.of_job(an_id) or self.of_output(an_id)

    def of_delivery(self, delivery_id: str) -> str | None:
        return self._of(webhook_deliveries, webhook_deliveries.c.owner, delivery_id)

    def of_batch(self, batch_id: str) -> str | None:
        return self._of(batches, batches.c.owner, batch_id)

    def _of(self, table: Table, owner: Column[str], an_id: str) -> str | None:
        with self._database.read() as connection:
            found = connection.scalar(select(owner).where(table.c.id == an_id))
            return found or connection.scalar(select(removals.c.owner).where(removals.c.id == an_id))
