"""Published pictures and videos: get, list, remove. `claims.complete` inserts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, tuple_, update

from app.core.catalog import Media
from app.core.output import Output
from app.core.prompts import words_of
from app.errors import Gone, ImageNotFound
from app.store.db.database import Database, now
from app.store.db.schema import NO_SEED, outputs, removals, tallies

IDS_PER_QUERY = 500
SHOWN = [column for column in outputs.c if column.name != "search_text"]


@dataclass(frozen=True)
class GalleryQuery:
    """Filter of a gallery page. `after`: the (created_at, id) of the last output on the previous page; `since`
    (inclusive) and `until` (exclusive): seconds since the epoch."""

    limit: int = 50
    after: tuple[float, str] | None = None
    model_id: str | None = None
    media: Media | None = None
    search: str | None = None
    owner: str | None = None
    since: float | None = None
    until: float | None = None


class OutputStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, output_id: str) -> Output:
        """Raises ImageNotFound, or Gone if it was removed."""
        with self._database.read() as connection:
            row = connection.execute(select(*SHOWN).where(outputs.c.id == output_id)).one_or_none()
            if row is not None:
                return output_from_row(row)
            if connection.scalar(select(removals.c.id).where(removals.c.id == output_id)) is not None:
                raise Gone("The image was removed by retention or by its owner.")
        raise ImageNotFound("There is no image with this id.")

    def of_job(self, job_id: str) -> list[Output]:
        """The outputs of a job, in the order of their seeds."""
        with self._database.read() as connection:
            rows = connection.execute(select(*SHOWN).where(outputs.c.job_id == job_id).order_by(outputs.c.index))
            return [output_from_row(row) for row in rows]

    def page(self, query: GalleryQuery) -> list[Output]:
        """One page of outputs, newest first."""
        newest_first = (outputs.c.created_at, outputs.c.id)
        statement = select(*SHOWN).order_by(*(column.desc() for column in newest_first)).limit(query.limit)
        if query.after is not None:
            statement = statement.where(tuple_(*newest_first) < tuple_(*query.after))
        if query.model_id is not None:
            statement = statement.where(outputs.c.model_id == query.model_id)
        if query.owner is not None:
            statement = statement.where(outputs.c.owner == query.owner)
        if query.media is not None:
            statement = statement.where(outputs.c.media == query.media)
        if query.since is not None:
            statement = statement.where(outputs.c.created_at >= query.since)
        if query.until is not None:
            statement = statement.where(outputs.c.created_at < query.until)
        for word in words_of(query.search or ""):
            statement = statement.where(outputs.c.search_text.contains(word, autoescape=True))
        with self._database.read() as connection:
            return [output_from_row(row) for row in connection.execute(statement)]

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
            changes = update(outputs).where(outputs.c.id == output_id).values(favorite=favorite)
            changed = connection.execute(changes).rowcount
        if not changed:
            self.get(output_id)

    def known_paths(self, paths: Sequence[str]) -> set[str]:
        """Those of `paths` that a row refers to, as picture or as thumbnail. Files are named after their output's id
        (`app.files.storage.dated_name`), so no other rows are read."""
        ids = sorted({PurePosixPath(path).name.partition(".")[0] for path in paths})
        known: set[str] = set()
        with self._database.read() as connection:
            for chunk in (ids[start : start + IDS_PER_QUERY] for start in range(0, len(ids), IDS_PER_QUERY)):
                query = select(outputs.c.path, outputs.c.thumbnail_path).where(outputs.c.id.in_(chunk))
                known.update(*connection.execute(query))
        return known & set(paths)

    def totals(self) -> dict[str, int]:
        """`{"count", "bytes"}` of all published outputs."""
        with self._database.read() as connection:
            return count_outputs(connection)


def count_outputs(connection: Connection) -> dict[str, int]:
    row = connection.execute(_TOTALS).one()
    return {"count": int(row[0] or 0), "bytes": int(row[1] or 0)}


_TOTALS = select(func.sum(tallies.c.count), func.sum(tallies.c.bytes)).where(tallies.c.subject == "outputs")


def output_from_row(row: Row[Any]) -> Output:
    """The Output of a row with the columns SHOWN."""
    return Output(**{**row._mapping, "seed": None if row.seed == NO_SEED else row.seed})
