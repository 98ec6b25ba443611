"""Input pictures of jobs: inserted and deleted with the job, and never read by a listing."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, insert, select

from app.core.inputs import InputPicture
from app.store.db.database import Database
from app.store.db.schema import inputs


class InputStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def pngs(self, job_id: str) -> dict[str, bytes]:
        """The PNGs of a job by role; empty for a job without inputs."""
        with self._database.read() as connection:
            return {row.role: row.png for row in connection.execute(_PNGS, {"job": job_id})}


def store_inputs(connection: Connection, job_id: str, pictures: Sequence[InputPicture]) -> None:
    """Insert the pictures of a new job, in the transaction that creates it."""
    if not pictures:
        return
    rows = [
        {
            "job_id": job_id,
            "role": picture.role,
            "sha256": picture.ref.sha256,
            "width": picture.ref.width,
            "height": picture.ref.height,
            "png": picture.png,
        }
        for picture in pictures
    ]
    connection.execute(insert(inputs), rows)


_PNGS = select(inputs.c.role, inputs.c.png).where(inputs.c.job_id == bindparam("job"))
