"""Live workers: each updates its row with every heartbeat, and is live while that is fresh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from app.core.catalog import Lane
from app.core.worker_capabilities import Capabilities
from app.store.db.database import Database, now
from app.store.db.schema import PROCESSING, jobs, workers
from app.store.ops.memory_plans import end_plans
from app.store.queue.worker_capabilities import delete_unused, keep, mark_seen, supersede

# starting: it takes no jobs yet (PRELOAD); unhealthy: its device is out of service
WORKER_STATES = ("starting", "idle", "busy", "loading", "draining", "unhealthy")
NOT_TAKING = ("starting", "draining", "unhealthy")  # it takes no jobs, and may take some later


@dataclass(frozen=True)
class WorkerReport:
    """State of a worker. `models` are its resident models; bytes are measured. It takes jobs of `lane`, `slots` at a
    time; `running` is how many it runs now, of which `job_id` is the oldest. `device_error`: why its device is out of
    service, None while it is not. `capabilities`: what it can run, None while it does not say."""

    id: str
    host: str
    pid: int
    device: str
    state: str = "idle"  # one of WORKER_STATES
    job_id: str | None = None
    models: Sequence[dict[str, Any]] = field(default_factory=tuple)
    rss_bytes: int = 0
    vram_bytes: int = 0
    lane: Lane = "local"
    slots: int = 1
    running: int = 0
    device_id: str = ""
    device_error: str | None = None
    capabilities: Capabilities | None = None


def ready_models(worker: Mapping[str, Any]) -> set[str]:
    """Models that a worker can run at once: a parked one has to be moved to the GPU first."""
    return {model["model_id"] for model in worker["models"] if not model.get("parked")}


class WorkerStore:
    def __init__(self, database: Database, *, lease_seconds: float) -> None:
        self._database = database
        self._lease = lease_seconds
        self._kept: dict[str, str | None] = {}  # the digests that this process has written, by worker

    def heartbeat(self, report: WorkerReport) -> None:
        """Insert or update the worker's row; what it can run is written when it has changed."""
        can = report.capabilities
        digest = None if can is None else can.digest
        values = vars(report) | {"models": list(report.models), "heartbeat_at": now(), "capabilities": digest}
        with self._database.write(durable=False) as connection:
            known = connection.execute(update(workers).where(workers.c.id == report.id).values(**values)).rowcount
            if not known:
                connection.execute(insert(workers).values(started_at=now(), **values))
            before = self._kept.get(report.id)
            if can is not None and (not known or before != digest):
                keep(connection, can)
            if before is not None and before != digest:
                supersede(connection, before)
        self._kept[report.id] = digest

    def remove(self, worker_id: str) -> None:
        self._kept.pop(worker_id, None)
        with self._database.write(durable=False) as connection:
            _remove_rows(connection, workers.c.id == worker_id)
            end_plans(connection, worker_id)

    def live(self) -> list[dict[str, Any]]:
        """Rows of the workers with a heartbeat within one lease, oldest first."""
        fresh = workers.c.heartbeat_at > now() - self._lease
        with self._database.read() as connection:
            rows = connection.execute(select(workers).where(fresh).order_by(workers.c.started_at))
            return [dict(row._mapping) for row in rows]

    def running(self) -> dict[str, int]:
        """How many jobs each worker runs at this moment, by the queue itself: rows of workers are a heartbeat old."""
        held = select(jobs.c.worker_id, func.count()).where(PROCESSING).group_by(jobs.c.worker_id)
        with self._database.read() as connection:
            return {row[0]: int(row[1]) for row in connection.execute(held)}

    def delete_dead(self) -> None:
        """Delete rows of workers without a heartbeat for ten leases, or with one far in the future, and what they could
        run when it was last reported long ago."""
        dead = (workers.c.heartbeat_at < now() - 10 * self._lease) | (workers.c.heartbeat_at > now() + 10 * self._lease)
        with self._database.write(durable=False) as connection:
            _remove_rows(connection, dead)
            delete_unused(connection)


def _remove_rows(connection: Connection, which: ColumnElement[bool]) -> None:
    """Delete rows of workers, and note what they could run until now."""
    gone = connection.scalars(delete(workers).where(which).returning(workers.c.capabilities)).all()
    mark_seen(connection, gone)
