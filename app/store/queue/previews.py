"""The latest preview of each running job: one small WebP, not durable, deleted when the job ends."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select

from app.store.db.database import Database
from app.store.db.schema import PROCESSING, jobs, previews
from app.store.db.upsert import insert_into


@dataclass(frozen=True)
class Preview:
    """The preview after `step` steps of attempt `attempt`. `webp` is a complete WebP file."""

    attempt: int
    step: int
    webp: bytes


class PreviewStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, job_id: str, preview: Preview) -> None:
        with self._database.write(durable=False) as connection:
            statement = insert_into(previews, connection).values(job_id=job_id, **vars(preview))
            connection.execute(statement.on_conflict_do_update(index_elements=["job_id"], set_=vars(preview)))

    def get(self, job_id: str, *, newer_than: tuple[int, int] = (0, 0)) -> Preview | None:
        """The preview of a job, if its (attempt, step) is later than `newer_than`."""
        with self._database.read() as connection:
            row = connection.execute(
                select(previews.c.attempt, previews.c.step, previews.c.webp).where(previews.c.job_id == job_id)
            ).one_or_none()
        return None if row is None or (row.attempt, row.step) <= newer_than else Preview(*row)

    def remove(self, job_id: str) -> None:
        with self._database.write(durable=False) as connection:
            connection.execute(delete(previews).where(previews.c.job_id == job_id))

    def delete_ended(self) -> None:
        """Delete previews of jobs that are not running, left by crashed workers."""
        with self._database.write(durable=False) as connection:
            running = select(jobs.c.id).where(PROCESSING)
            connection.execute(delete(previews).where(previews.c.job_id.not_in(running)))
