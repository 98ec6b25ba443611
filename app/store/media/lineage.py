"""Lineage of outputs: what each was made from, ancestors and children. `claims.complete` inserts the rows.

Rows go with their output, so a chain ends at a picture that was removed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, insert, select

from app.core.lineage import MadeFrom, made_from
from app.core.output import Output
from app.core.request import GenerationRequest
from app.store.db.database import Database
from app.store.db.schema import IN_GALLERY, output_sources, outputs
from app.store.media.outputs import SHOWN, output_from_row

MOST_GENERATIONS = 64
MOST_RELATIVES = 200


class LineageStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def ancestors(self, output_id: str) -> Sequence[Output]:
        """The pictures that this one was made from, directly or not, oldest first; MOST_RELATIVES at most, the nearest
        ones."""
        with self._database.read() as connection:
            found = select(*SHOWN).where(outputs.c.id.in_(_nearest(connection, output_id)), IN_GALLERY)
            rows = connection.execute(found.order_by(outputs.c.created_at, outputs.c.id))
            return [output_from_row(row) for row in rows]

    def children(self, output_id: str) -> Sequence[Output]:
        """The pictures that were made directly from this one, newest first; MOST_RELATIVES at most."""
        ids = select(output_sources.c.output_id).where(output_sources.c.source_id == output_id)
        found = select(*SHOWN).where(outputs.c.id.in_(ids), IN_GALLERY)
        newest = found.order_by(outputs.c.created_at.desc(), outputs.c.id.desc()).limit(MOST_RELATIVES)
        with self._database.read() as connection:
            return [output_from_row(row) for row in connection.execute(newest)]

    def sources(self, output_ids: Collection[str]) -> Mapping[str, Sequence[MadeFrom]]:
        """What each of these outputs was made from directly; those made from no picture are left out."""
        query = select(output_sources).where(output_sources.c.output_id.in_(output_ids))
        found: dict[str, list[MadeFrom]] = {}
        with self._database.read() as connection:
            for row in connection.execute(query.order_by(output_sources.c.source_id)):
                found.setdefault(row.output_id, []).append(MadeFrom(row.source_id, row.how))
        return found


def _nearest(connection: Connection, output_id: str) -> Collection[str]:
    """The ids of its nearest ancestors. A generation is read at a time, and no more of it than there is room for: a
    recursive query would walk all of them before it is cut."""
    sources, seen = output_sources.c, {output_id}
    generation: Sequence[str] = [output_id]
    for _ in range(MOST_GENERATIONS):
        room = MOST_RELATIVES + 1 - len(seen)
        if not generation or room <= 0:
            break
        above = select(sources.source_id).distinct().where(sources.output_id.in_(generation))
        above = above.where(sources.source_id.not_in(seen)).order_by(sources.source_id).limit(room)
        generation = connection.scalars(above).all()
        seen.update(generation)
    return seen - {output_id}


def store_sources(connection: Connection, request: GenerationRequest, published: Sequence[Output]) -> None:
    """Insert what the outputs of a job were made from, in the transaction that completes it."""
    rows = [
        {"output_id": output.id, "source_id": source.image_id, "how": source.how}
        for source in made_from(request)
        for output in published
    ]
    if rows:
        connection.execute(insert(output_sources), rows)
