"""Memory plans: under which one each worker process holds a model, and under which the kernel killed a worker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, and_, delete, or_, select, update

from app.store.db.database import Database, now
from app.store.db.schema import memory_plans
from app.store.db.upsert import insert_into

KILLED_SECONDS = 3600.0  # a plan is avoided that long: other programs may have taken the memory
_FORGOTTEN_SECONDS = 30 * 86400.0  # rows of workers whose end was not recorded

_c = memory_plans.c
_KILLED = _c.killed_at > now() - KILLED_SECONDS


class MemoryPlanStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, worker_id: str, model_id: str, plan: str, *, host: str, device_id: str) -> None:
        """Record that the worker is about to load the model under `plan`; durable, since it may be killed by that."""
        values = {"host": host, "device_id": device_id, "plan": plan, "begun_at": now(), "killed_at": None}
        with self._database.write() as connection:
            old = or_(
                _c.killed_at <= now() - KILLED_SECONDS,
                and_(_c.killed_at.is_(None), _c.begun_at <= now() - _FORGOTTEN_SECONDS),
            )
            connection.execute(delete(memory_plans).where(old))
            row = insert_into(memory_plans, connection).values(worker_id=worker_id, model_id=model_id, **values)
            connection.execute(row.on_conflict_do_update(index_elements=[_c.worker_id, _c.model_id], set_=values))

    def killed(self, host: str, device_id: str, model_id: str) -> Collection[str]:
        """The plans under which the kernel killed a worker of that device that ran the model, within
        KILLED_SECONDS."""
        query = select(_c.plan).where(_c.host == host, _c.device_id == device_id, _c.model_id == model_id, _KILLED)
        with self._database.read() as connection:
            return set(connection.scalars(query))

    def all_killed(self) -> Mapping[str, Collection[str]]:
        """The plans under which the kernel killed a worker of any device, within KILLED_SECONDS, by model id."""
        found: dict[str, set[str]] = defaultdict(set)
        with self._database.read() as connection:
            for row in connection.execute(select(_c.model_id, _c.plan).where(_KILLED)):
                found[row.model_id].add(row.plan)
        return found


def end_plans(connection: Connection, worker_id: str, killed_models: Collection[str] = ()) -> Sequence[tuple[str, str]]:
    """A worker has ended: forget its plans, except for those of the models that the kernel killed it for. Returns these
    (model id, plan)."""
    mine = _c.worker_id == worker_id
    connection.execute(delete(memory_plans).where(mine, _c.killed_at.is_(None), _c.model_id.not_in(killed_models)))
    rows = connection.execute(
        update(memory_plans).where(mine, _c.killed_at.is_(None)).values(killed_at=now()).returning(_c.model_id, _c.plan)
    )
    return [(row.model_id, row.plan) for row in rows]
