"""Actions on many pictures at once: delete, restore, mark, tag. In portions, each a short transaction.

A picture of another owner than the caller's, or in another place than the action works on (gallery or bin), is left
alone: it is not among those that a method returns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, select, update

from app.core.tags import Tag
from app.store.db.database import Database, now
from app.store.db.schema import IN_BIN, IN_GALLERY, output_tags, outputs
from app.store.db.upsert import insert_into
from app.store.media.filters import GalleryQuery, page_of, place_of

PORTION = 500


class SelectionStore:
    """`ids` are PORTION at most, `owner` is a client_id or None for all. Methods that change something return the ids
    of the pictures that changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def matching(self, query: GalleryQuery) -> Iterator[list[str]]:
        """The ids of the pictures that match, in portions. What is added meanwhile is not among them."""
        after = query.after
        columns = [outputs.c.id, outputs.c.created_at, outputs.c.deleted_at]
        while True:
            fields = {**vars(query), "limit": PORTION, "after": after}
            with self._database.read() as connection:
                rows = connection.execute(page_of(columns, GalleryQuery(**fields))).all()
            if not rows:
                return
            yield [row.id for row in rows]
            last = rows[-1]
            after = place_of(query, last.created_at, last.deleted_at, last.id)

    def visible(self, ids: Sequence[str], owner: str | None, *, binned: bool = False) -> list[str]:
        """Those of `ids` that are there, in the gallery or in the bin, and belong to `owner`."""
        with self._database.read() as connection:
            return _ids(connection, ids, owner, IN_BIN if binned else IN_GALLERY)

    def move_to_bin(self, ids: Sequence[str], owner: str | None, deletion_id: str) -> list[str]:
        """Put them into the bin."""
        changes = update(outputs).where(*_these(ids, owner), IN_GALLERY)
        with self._database.write() as connection:
            moved = changes.values(deleted_at=now(), deletion_id=deletion_id).returning(outputs.c.id)
            return list(connection.scalars(moved))

    def restore(self, ids: Sequence[str], owner: str | None) -> list[str]:
        """Take them out of the bin."""
        changes = update(outputs).where(*_these(ids, owner), IN_BIN)
        with self._database.write() as connection:
            moved = changes.values(deleted_at=None, deletion_id=None).returning(outputs.c.id)
            return list(connection.scalars(moved))

    def mark(self, ids: Sequence[str], owner: str | None, *, favorite: bool) -> list[str]:
        changes = update(outputs).where(*_these(ids, owner), IN_GALLERY, outputs.c.favorite.is_not(favorite))
        with self._database.write() as connection:
            return list(connection.scalars(changes.values(favorite=favorite).returning(outputs.c.id)))

    def tag(self, ids: Sequence[str], owner: str | None, tags: Sequence[Tag], *, most: int) -> list[str]:
        """Add the tags that they lack. A picture that would have more than `most` gets none of them."""
        keys = [tag.key for tag in tags]
        with self._database.write() as connection:
            there = {row.id: row.created_at for row in connection.execute(_dated(ids, owner))}
            has = _keys_by_picture(connection, list(there))
            lacks = {each: set(keys) - has.get(each, set()) for each in there}
            changed = [each for each, new in lacks.items() if new and len(has.get(each, ())) + len(new) <= most]
            rows = [
                {"output_id": each, "tag": tag.key, "label": tag.label, "created_at": there[each]}
                for each in sorted(changed)  # one order for all writers: else two of them could wait for each other
                for tag in sorted(tags, key=lambda tag: tag.key)
                if tag.key in lacks[each]
            ]
            if rows:
                connection.execute(insert_into(output_tags, connection).on_conflict_do_nothing(), rows)
            return changed

    def untag(self, ids: Sequence[str], owner: str | None, tags: Sequence[Tag]) -> list[str]:
        keys = [tag.key for tag in tags]
        with self._database.write() as connection:
            there = _ids(connection, ids, owner, IN_GALLERY)
            gone = delete(output_tags).where(output_tags.c.output_id.in_(there), output_tags.c.tag.in_(keys))
            return sorted(set(connection.scalars(gone.returning(output_tags.c.output_id))))


class TagStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, ids: Sequence[str]) -> dict[str, list[str]]:
        """The labels of each of these pictures, in their order; those without tags are left out."""
        found: dict[str, list[str]] = {}
        columns = (output_tags.c.output_id, output_tags.c.label)
        with self._database.read() as connection:
            for start in range(0, len(ids), PORTION):
                query = select(*columns).where(output_tags.c.output_id.in_(ids[start : start + PORTION]))
                for row in connection.execute(query.order_by(output_tags.c.output_id, output_tags.c.tag)):
                    found.setdefault(row.output_id, []).append(row.label)
        return found

    def listing(self, owner: str | None, *, limit: int) -> list[tuple[str, int]]:
        """(label, number of pictures) of the most used tags of an owner, or of all."""
        number = func.count().label("number")
        query = (
            select(func.min(output_tags.c.label), number)
            .join(outputs, outputs.c.id == output_tags.c.output_id)
            .where(IN_GALLERY, *(() if owner is None else (outputs.c.owner == owner,)))
            .group_by(output_tags.c.tag)
            .order_by(number.desc(), output_tags.c.tag)
        )
        with self._database.read() as connection:
            return [(row[0], row[1]) for row in connection.execute(query.limit(limit))]


def _these(ids: Sequence[str], owner: str | None) -> list[ColumnElement[bool]]:
    return [outputs.c.id.in_(ids), *([] if owner is None else [outputs.c.owner == owner])]


def _ids(connection: Connection, ids: Sequence[str], owner: str | None, place: ColumnElement[bool]) -> list[str]:
    return list(connection.scalars(select(outputs.c.id).where(*_these(ids, owner), place)))


def _dated(ids: Sequence[str], owner: str | None) -> Select[Any]:
    return select(outputs.c.id, outputs.c.created_at).where(*_these(ids, owner), IN_GALLERY)


def _keys_by_picture(connection: Connection, ids: Sequence[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    query = select(output_tags.c.output_id, output_tags.c.tag).where(output_tags.c.output_id.in_(ids))
    for row in connection.execute(query):
        found.setdefault(row.output_id, set()).add(row.tag)
    return found
