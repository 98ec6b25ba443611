"""Orders to load and unload models: durable, taken once, forgotten when nobody takes them in time.

A worker's writes are fenced: an order that is not TAKEN by this worker is not changed.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, insert, or_, select, update

from app.core.ids import new_id
from app.core.load_requests import LoadAction, LoadRequest, LoadState
from app.errors import CyberImageError
from app.store.db.clock import now
from app.store.db.database import Database
from app.store.db.schema import ORDERED, load_requests

KEPT_SECONDS = 86400.0  # how long old orders stay, for whoever looks into what happened
_o = load_requests.c


class LoadRequestStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def place(
        self, action: LoadAction, model_id: str | None, *, lifetime: float, addressee: str | None = None
    ) -> LoadRequest:
        """Write an order that may be taken within `lifetime` seconds; it is on the disk when this returns."""
        with self._database.write() as connection:
            connection.execute(delete(load_requests).where(_o.created_at < now() - KEPT_SECONDS))
            row = connection.execute(
                insert(load_requests)
                .values(
                    id=new_id(),
                    action=action.value,
                    model_id=model_id,
                    addressee=addressee,
                    state=LoadState.PENDING.value,
                    created_at=now(),
                    expires_at=now() + lifetime,
                    was_resident=False,
                )
                .returning(load_requests)
            ).one()
        return _order(row)

    def get(self, order_id: str) -> LoadRequest | None:
        with self._database.read() as connection:
            row = connection.execute(select(load_requests).where(_o.id == order_id)).one_or_none()
        return None if row is None else _order(row)

    def under_way(self, action: LoadAction, model_id: str) -> LoadRequest | None:
        """The newest order of this kind that waits or is being carried out."""
        waiting = and_(ORDERED, _o.expires_at > now())
        with self._database.read() as connection:
            row = connection.execute(
                select(load_requests)
                .where(
                    _o.action == action.value,
                    _o.model_id == model_id,
                    or_(waiting, _o.state == LoadState.TAKEN.value),
                )
                .order_by(_o.seq.desc())
                .limit(1)
            ).one_or_none()
        return None if row is None else _order(row)

    def being_loaded(self) -> list[LoadRequest]:
        """The orders to load that workers are carrying out, oldest first."""
        taken = and_(_o.action == LoadAction.LOAD.value, _o.state == LoadState.TAKEN.value)
        with self._database.read() as connection:
            return [_order(row) for row in connection.execute(select(load_requests).where(taken).order_by(_o.seq))]

    def call_off(self, model_id: str | None, error: CyberImageError) -> list[LoadRequest]:
        """End the orders to load a model (None: any) that wait or are being carried out, with `error` for those who
        wait for them. Gives them as they were ended."""
        open_ones = and_(
            _o.action == LoadAction.LOAD.value,
            _o.state.in_([LoadState.PENDING.value, LoadState.TAKEN.value]),
            *([] if model_id is None else [_o.model_id == model_id]),
        )
        told = {"error_code": error.code, "error_message": error.detail}
        with self._database.write() as connection:
            rows = connection.execute(
                update(load_requests)
                .where(open_ones)
                .values(state=LoadState.FAILED.value, ended_at=now(), **told)
                .returning(load_requests)
            ).all()
        return [_order(row) for row in rows]

    def take(self, worker_id: str) -> LoadRequest | None:
        """The oldest order that this worker may carry out, now its own; None when there is none."""
        mine = or_(_o.addressee.is_(None), _o.addressee == worker_id)
        oldest = select(_o.seq).where(ORDERED, _o.expires_at > now(), mine).order_by(_o.seq).limit(1)
        with self._database.read() as connection:  # nearly always the answer: no write lock for that
            if connection.scalar(oldest) is None:
                return None
        with self._database.write() as connection:
            seq = connection.scalar(oldest.with_for_update(skip_locked=True))
            row = connection.execute(
                update(load_requests)
                .where(_o.seq == seq, ORDERED)
                .values(state=LoadState.TAKEN.value, worker_id=worker_id, taken_at=now())
                .returning(load_requests)
            ).one_or_none()
        return None if row is None else _order(row)

    def progress(self, order: LoadRequest, *, downloaded: int, total: int, per_second: float | None) -> bool:
        """How far the download is; as `done`. It need not outlive the machine."""
        told: dict[str, Any] = {"downloaded_bytes": downloaded, "total_bytes": total, "bytes_per_second": per_second}
        return self._settle(order, durable=False, **told)

    def is_wanted(self, order: LoadRequest) -> bool:
        """Whether it is still the worker's own."""
        with self._database.read() as connection:
            return connection.scalar(select(_o.seq).where(_still_ours(order))) is not None

    def done(self, order: LoadRequest, *, was_resident: bool = False) -> bool:
        """Whether the order was still the worker's own."""
        return self._settle(order, state=LoadState.DONE.value, ended_at=now(), was_resident=was_resident)

    def failed(self, order: LoadRequest, error: CyberImageError) -> bool:
        """As `done`."""
        told: dict[str, Any] = {"error_code": error.code, "error_message": error.detail}
        return self._settle(order, state=LoadState.FAILED.value, ended_at=now(), **told)

    def release(self, order: LoadRequest) -> bool:
        """Give it back for somebody else to take (the worker stops). As `done`."""
        return self._settle(order, state=LoadState.PENDING.value, worker_id=None, taken_at=None)

    def _settle(self, order: LoadRequest, *, durable: bool = True, **values: Any) -> bool:
        with self._database.write(durable=durable) as connection:
            return connection.execute(update(load_requests).where(_still_ours(order)).values(**values)).rowcount == 1


def _still_ours(order: LoadRequest) -> ColumnElement[bool]:
    return and_(_o.id == order.id, _o.state == LoadState.TAKEN.value, _o.worker_id == order.worker_id)


def _order(row: Row[Any]) -> LoadRequest:
    values = {name: value for name, value in row._mapping.items() if name != "seq"}
    return LoadRequest(**{**values, "action": LoadAction(row.action), "state": LoadState(row.state)})
