"""Requests to load and unload models: durable, taken by one worker, expired if not taken in time.

A worker's writes are fenced: only a request that is TAKEN by this worker is changed.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, insert, or_, select, update

from app.core.load_requests import LoadAction, LoadRequest, LoadState
from app.errors import CyberImageError
from app.store.db.database import Database, now
from app.store.db.ids import new_id
from app.store.db.schema import REQUESTED, load_requests

KEPT_SECONDS = 86400.0  # how long old requests are kept for diagnosis
_r = load_requests.c


class LoadRequestStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        action: LoadAction,
        model_id: str | None,
        *,
        lifetime: float,
        addressee: str | None = None,
        lora: str | None = None,
    ) -> LoadRequest:
        """Store a request that may be taken within `lifetime` seconds; durable."""
        with self._database.write() as connection:
            connection.execute(delete(load_requests).where(_r.created_at < now() - KEPT_SECONDS))
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
                    lora=lora,
                )
                .returning(load_requests)
            ).one()
        return _request(row)

    def get(self, request_id: str) -> LoadRequest | None:
        with self._database.read() as connection:
            row = connection.execute(select(load_requests).where(_r.id == request_id)).one_or_none()
        return None if row is None else _request(row)

    def under_way(self, action: LoadAction, model_id: str) -> LoadRequest | None:
        """The newest request of this kind for the model itself that is pending or being carried out."""
        waiting = and_(REQUESTED, _r.expires_at > now())
        with self._database.read() as connection:
            row = connection.execute(
                select(load_requests)
                .where(
                    _r.action == action.value,
                    _r.model_id == model_id,
                    _r.lora.is_(None),
                    or_(waiting, _r.state == LoadState.TAKEN.value),
                )
                .order_by(_r.seq.desc())
                .limit(1)
            ).one_or_none()
        return None if row is None else _request(row)

    def being_loaded(self) -> list[LoadRequest]:
        """Load requests that workers are carrying out, oldest first."""
        taken = and_(_r.action == LoadAction.LOAD.value, _r.state == LoadState.TAKEN.value, _r.lora.is_(None))
        with self._database.read() as connection:
            return [_request(row) for row in connection.execute(select(load_requests).where(taken).order_by(_r.seq))]

    def cancel(self, model_id: str | None, error: CyberImageError) -> list[LoadRequest]:
        """End pending and running requests to load `model_id` (None: any model) with `error`, which their waiting
        clients get. Returns them as ended."""
        not_ended = and_(
            _r.action == LoadAction.LOAD.value,
            _r.lora.is_(None),
            _r.state.in_([LoadState.PENDING.value, LoadState.TAKEN.value]),
            *([] if model_id is None else [_r.model_id == model_id]),
        )
        failure = {"error_code": error.code, "error_message": error.detail}
        with self._database.write() as connection:
            rows = connection.execute(
                update(load_requests)
                .where(not_ended)
                .values(state=LoadState.FAILED.value, ended_at=now(), **failure)
                .returning(load_requests)
            ).all()
        return [_request(row) for row in rows]

    def take(self, worker_id: str) -> LoadRequest | None:
        """Take the oldest request that this worker may carry out; None if there is none."""
        mine = or_(_r.addressee.is_(None), _r.addressee == worker_id)
        oldest = select(_r.seq).where(REQUESTED, _r.expires_at > now(), mine).order_by(_r.seq).limit(1)
        with self._database.read() as connection:  # usually none: avoids the write lock
            if connection.scalar(oldest) is None:
                return None
        with self._database.write() as connection:
            seq = connection.scalar(oldest.with_for_update(skip_locked=True))
            row = connection.execute(
                update(load_requests)
                .where(_r.seq == seq, REQUESTED)
                .values(state=LoadState.TAKEN.value, worker_id=worker_id, taken_at=now())
                .returning(load_requests)
            ).one_or_none()
        return None if row is None else _request(row)

    def progress(self, request: LoadRequest, *, downloaded: int, total: int, per_second: float | None) -> bool:
        """Store the progress of the download. Returns as `done`. Not durable."""
        values: dict[str, Any] = {"downloaded_bytes": downloaded, "total_bytes": total, "bytes_per_second": per_second}
        return self._settle(request, durable=False, **values)

    def is_active(self, request: LoadRequest) -> bool:
        """True while the request is taken by its worker, that is, not cancelled."""
        with self._database.read() as connection:
            return connection.scalar(select(_r.seq).where(_owned(request))) is not None

    def done(self, request: LoadRequest, *, was_resident: bool = False) -> bool:
        """Mark as done. Returns False if the request was no longer the worker's."""
        return self._settle(request, state=LoadState.DONE.value, ended_at=now(), was_resident=was_resident)

    def failed(self, request: LoadRequest, error: CyberImageError) -> bool:
        """Store the error. Returns as `done`."""
        values: dict[str, Any] = {"error_code": error.code, "error_message": error.detail}
        return self._settle(request, state=LoadState.FAILED.value, ended_at=now(), **values)

    def release(self, request: LoadRequest) -> bool:
        """Return it for another worker to take (this one stops). Returns as `done`."""
        return self._settle(request, state=LoadState.PENDING.value, worker_id=None, taken_at=None)

    def _settle(self, request: LoadRequest, *, durable: bool = True, **values: Any) -> bool:
        with self._database.write(durable=durable) as connection:
            return connection.execute(update(load_requests).where(_owned(request)).values(**values)).rowcount == 1


def _owned(request: LoadRequest) -> ColumnElement[bool]:
    return and_(_r.id == request.id, _r.state == LoadState.TAKEN.value, _r.worker_id == request.worker_id)


def _request(row: Row[Any]) -> LoadRequest:
    values = {name: value for name, value in row._mapping.items() if name != "seq"}
    return LoadRequest(**{**values, "action": LoadAction(row.action), "state": LoadState(row.state)})
