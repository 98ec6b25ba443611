"""Devices that failed and have not finished a job since: their next worker tests them before it claims a job."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, delete, select

from app.store.db.database import Database, now
from app.store.db.schema import device_faults
from app.store.db.upsert import insert_into

_c = device_faults.c


@dataclass(frozen=True)
class DeviceFault:
    """`failures` in a row, the last one while it ran `job_id` (None: while it loaded a model, or at the start)."""

    job_id: str | None
    reason: str
    failures: int


class DeviceFaultStore:
    """Faults by host and device, as the workers report them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, host: str, device_id: str) -> DeviceFault | None:
        query = select(_c.job_id, _c.reason, _c.failures).where(_c.host == host, _c.device_id == device_id)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else DeviceFault(row.job_id, row.reason, row.failures)

    def record(self, host: str, device_id: str, *, job_id: str | None, reason: str) -> None:
        """Record one more failure; durable, or the next process would trust the device."""
        values = {"job_id": job_id, "reason": reason, "failed_at": now()}
        with self._database.write() as connection:
            first = insert_into(device_faults, connection).values(host=host, device_id=device_id, failures=1, **values)
            connection.execute(
                first.on_conflict_do_update(
                    index_elements=[_c.host, _c.device_id], set_={**values, "failures": _c.failures + 1}
                )
            )

    def clear(self, host: str, device_id: str) -> None:
        """The device has finished a job."""
        with self._database.write(durable=False) as connection:
            connection.execute(delete(device_faults).where(and_(_c.host == host, _c.device_id == device_id)))
