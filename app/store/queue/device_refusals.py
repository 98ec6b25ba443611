"""Models that a device refused to run, for lack of memory or of a GPU, and which other workers may run them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from sqlalchemy import Double, and_, bindparam, delete, exists, select

from app.store.db.database import Database, now
from app.store.db.schema import device_refusals, workers
from app.store.db.upsert import insert_into

REFUSED_SECONDS = 300.0  # then it is tried again: memory may be free by then, or the picture smaller

_c = device_refusals.c
_other = device_refusals.alias()
_FRESH = now() - REFUSED_SECONDS
_refused_too = (
    exists()
    .where(
        _other.c.host == workers.c.host,
        _other.c.device_id == workers.c.device_id,
        _other.c.model_id == _c.model_id,
        _other.c.refused_at > _FRESH,
    )
    .correlate(workers, device_refusals)
)
_elsewhere = (
    workers.c.lane == "local",
    workers.c.heartbeat_at > now() - bindparam("lease", type_=Double),
    workers.c.device_error.is_(None),
    workers.c.state != "draining",
    ~and_(workers.c.host == _c.host, workers.c.device_id == _c.device_id),
    ~_refused_too,
)
_HERE = (_c.host == bindparam("here"), _c.device_id == bindparam("device"), _c.refused_at > _FRESH)
_REFUSED = select(_c.model_id).where(*_HERE)
_OTHERS = select(_c.model_id, workers.c.capabilities).where(*_HERE, *_elsewhere).distinct()


class DeviceRefusalStore:
    """A refusal holds for REFUSED_SECONDS. Live workers are those with a heartbeat within `lease_seconds`."""

    def __init__(self, database: Database, *, lease_seconds: float) -> None:
        self._database = database
        self._lease = lease_seconds

    def record(self, host: str, device_id: str, model_id: str) -> None:
        keys = {"host": host, "device_id": device_id, "model_id": model_id}
        with self._database.write() as connection:
            connection.execute(delete(device_refusals).where(_c.refused_at <= _FRESH))
            row = insert_into(device_refusals, connection).values(**keys, refused_at=now())
            names = [_c.host, _c.device_id, _c.model_id]
            connection.execute(row.on_conflict_do_update(index_elements=names, set_={"refused_at": now()}))

    def refused(self, host: str, device_id: str) -> Collection[str]:
        """The ids of the models that the device refused."""
        with self._database.read() as connection:
            return set(connection.scalars(_REFUSED, {"here": host, "device": device_id}))

    def others(self, host: str, device_id: str) -> Mapping[str, Collection[str | None]]:
        """By refused model, the digests of what live local workers of other devices can run that have not refused it;
        None of one that does not say."""
        found: dict[str, set[str | None]] = defaultdict(set)
        with self._database.read() as connection:
            place = {"here": host, "device": device_id, "lease": self._lease}
            for model_id, digest in connection.execute(_OTHERS, place):
                found[model_id].add(digest)
        return found
