"""What workers report that they can run: a row for each different report, which workers that can do the same share."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import Connection, delete, select, update

from app.core.lru_cache import LRUCache
from app.core.worker_capabilities import Capabilities
from app.store.db.database import Database, now
from app.store.db.schema import worker_capabilities, workers
from app.store.db.upsert import insert_into

KEPT_SECONDS = 30 * 86_400.0  # after the last worker that reported it has gone

_REMEMBERED = 256

_c = worker_capabilities.c
_USED = select(workers.c.capabilities).where(workers.c.capabilities.is_not(None))


class CapabilityStore:
    """Reads the reports; the rows of workers, which `WorkerStore` writes, name them by digest. Those read last are
    remembered: a digest stands for one report."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known = LRUCache[str, Capabilities](_REMEMBERED)

    def reports(self, digests: Collection[str]) -> Mapping[str, Capabilities]:
        """The reports of these digests, without those that are not there or cannot be read."""
        found = {digest: known for digest in digests if (known := self._known.get(digest)) is not None}
        missing = sorted(set(digests) - found.keys())
        if missing:
            with self._database.read() as connection:
                rows = connection.execute(select(_c.digest, _c.body).where(_c.digest.in_(missing))).all()
            for digest, body in rows:
                with contextlib.suppress(ValueError, TypeError):  # of another version
                    found[digest] = Capabilities.read(body)
                    self._known.put(digest, found[digest])
        return found

    def gone(self, within_seconds: float) -> Collection[str]:
        """The digests that no row of a worker names, and one did so long ago at most."""
        recent = select(_c.digest).where(_c.seen_at > now() - within_seconds, _c.digest.not_in(_USED))
        with self._database.read() as connection:
            return set(connection.scalars(recent))


def keep(connection: Connection, capabilities: Capabilities) -> None:
    """Write a report, or say that it is reported again: in the transaction that writes its worker's row."""
    statement = insert_into(worker_capabilities, connection).values(
        digest=capabilities.digest, body=capabilities.body, seen_at=now()
    )
    connection.execute(statement.on_conflict_do_update(index_elements=["digest"], set_={"seen_at": now()}))


def mark_seen(connection: Connection, digests: Iterable[str | None]) -> None:
    """Note that workers whose rows were deleted had reported these until now. One by one in their order, and after the
    rows of workers, as heartbeats do: so none waits for another that waits for it."""
    for digest in sorted({digest for digest in digests if digest is not None}):
        connection.execute(update(worker_capabilities).where(_c.digest == digest).values(seen_at=now()))


def supersede(connection: Connection, digest: str) -> None:
    """Note that a worker reports something else now: what it could do is not what one could do that has gone."""
    unused = _c.digest == digest, _c.digest.not_in(_USED)
    connection.execute(update(worker_capabilities).where(*unused).values(seen_at=0.0))


def delete_unused(connection: Connection) -> None:
    """Delete the reports of workers that have gone long ago."""
    connection.execute(delete(worker_capabilities).where(_c.seen_at < now() - KEPT_SECONDS, _c.digest.not_in(_USED)))
