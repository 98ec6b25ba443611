"""Published pictures and videos: get, list, remove. `claims.complete` inserts them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, Literal

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from app.core.output import Output
from app.errors import Gone, ImageNotFound
from app.store.db.database import Database, now
from app.store.db.schema import IN_GALLERY, NO_SEED, outputs, removals, tallies
from app.store.media.filters import GalleryQuery, PictureFilter, matching, page_of

IDS_PER_QUERY = 500
SHOWN = [column for column in outputs.c if column.name != "search_text"]


class OutputStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, output_id: str, *, binned: bool = False) -> Output:
        """Raises ImageNotFound, or Gone if it was removed, or lies in the bin; with `binned` that is no hindrance."""
        with self._database.read() as connection:
            row = connection.execute(select(*SHOWN).where(outputs.c.id == output_id)).one_or_none()
            if row is not None and row.deleted_at is not None and not binned:
                raise Gone("The image was deleted and lies in the bin. Restore it there to use it again.")
            if row is not None:
                return output_from_row(row)
            if connection.scalar(select(removals.c.id).where(removals.c.id == output_id)) is not None:
                raise Gone("The image was removed by retention or by its owner.")
        raise ImageNotFound("There is no image with this id.")

    def many(self, ids: Sequence[str]) -> list[Output]:
        """Those of these outputs, IDS_PER_QUERY at most, that are there and not in the bin, in the order of `ids`."""
        with self._database.read() as connection:
            rows = connection.execute(select(*SHOWN).where(outputs.c.id.in_(ids), IN_GALLERY))
            found = {row.id: output_from_row(row) for row in rows}
        return [found[each] for each in ids if each in found]

    def of_job(self, job_id: str) -> list[Output]:
        """The outputs of a job that are not in the bin, in the order of their seeds."""
        with self._database.read() as connection:
            of_job = select(*SHOWN).where(outputs.c.job_id == job_id, IN_GALLERY)
            rows = connection.execute(of_job.order_by(outputs.c.index))
            return [output_from_row(row) for row in rows]

    def page(self, query: GalleryQuery) -> list[Output]:
        """One page of outputs, newest first unless `sort` says else; of those in the bin the last deleted first."""
        with self._database.read() as connection:
            return [output_from_row(row) for row in connection.execute(page_of(SHOWN, query))]

    def count(self, query: PictureFilter) -> int:
        """How many outputs match."""
        counted = select(func.count()).select_from(matching([outputs.c.id], query).subquery())
        with self._database.read() as connection:
            return connection.scalar(counted) or 0

    def remove(self, output_id: str) -> None:
        """Delete an output, and record the removal so that later requests answer `gone`."""
        with self._database.write() as connection:
            deleted = delete(outputs).where(outputs.c.id == output_id).returning(outputs.c.owner)
            row = connection.execute(deleted).one_or_none()
            if row is not None:
                removal = {"id": output_id, "kind": "output", "removed_at": now(), "owner": row.owner}
                connection.execute(insert(removals).values(**removal))

    def mark(self, output_id: str, *, favorite: bool) -> None:
        """Set or clear the favourite flag. Raises ImageNotFound or Gone."""
        with self._database.write() as connection:
            changes = update(outputs).where(outputs.c.id == output_id, IN_GALLERY).values(favorite=favorite)
            changed = connection.execute(changes).rowcount
        if not changed:
            self.get(output_id)

    def known_paths(self, paths: Sequence[str]) -> set[str]:
        """Those of `paths` that a row refers to, as picture or as thumbnail. Files are named after their output's id
        (`app.files.media_store.dated_name`), so no other rows are read."""
        ids = sorted({PurePosixPath(path).name.partition(".")[0] for path in paths})
        known: set[str] = set()
        with self._database.read() as connection:
            for chunk in (ids[start : start + IDS_PER_QUERY] for start in range(0, len(ids), IDS_PER_QUERY)):
                query = select(outputs.c.path, outputs.c.thumbnail_path).where(outputs.c.id.in_(chunk))
                known.update(*connection.execute(query))
        return known & set(paths)

    def totals(self) -> dict[str, int]:
        """`{"count", "bytes"}` of all published outputs that are not in the bin."""
        with self._database.read() as connection:
            return count_outputs(connection)

    def bin_totals(self) -> dict[str, int]:
        """`{"count", "bytes"}` of those in the bin."""
        with self._database.read() as connection:
            return count_outputs(connection, "bin")


def count_outputs(connection: Connection, subject: Literal["outputs", "bin"] = "outputs") -> dict[str, int]:
    row = connection.execute(_TOTALS, {"subject": subject}).one()
    return {"count": int(row[0] or 0), "bytes": int(row[1] or 0)}


_TOTALS = select(func.sum(tallies.c.count), func.sum(tallies.c.bytes)).where(tallies.c.subject == bindparam("subject"))


def output_from_row(row: Row[Any]) -> Output:
    """The Output of a row with the columns SHOWN."""
    return Output(**{**row._mapping, "seed": None if row.seed == NO_SEED else row.seed})
