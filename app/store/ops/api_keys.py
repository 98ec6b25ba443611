"""API keys: create, list, revoke, find by the hash of the token."""

from __future__ import annotations

import hmac
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, insert, or_, select, update

from app.core.access import ApiKey, Role
from app.errors import InvalidToken, KeyNotFound
from app.store.db.database import Database, now
from app.store.db.schema import api_keys

USED_RESOLUTION_SECONDS = 600.0  # of last_used_at: a write per request would cost more than the request

_k = api_keys.c


class ApiKeyStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        name: str,
        sha256: str,
        role: Role,
        *,
        rate_limit_generate: str | None = None,
        rate_limit_read: str | None = None,
    ) -> ApiKey:
        """`sha256` is the hexadecimal hash of the token, which must be unique."""
        values = {"name": name, "sha256": sha256, "role": role.value}
        limits = {"rate_limit_generate": rate_limit_generate, "rate_limit_read": rate_limit_read}
        with self._database.write() as connection:
            row = connection.execute(
                insert(api_keys).values(**values, **limits, created_at=now()).returning(api_keys)
            ).one()
        return _key(row)

    def all(self) -> list[ApiKey]:
        """All keys including revoked ones, oldest first."""
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(select(api_keys).order_by(_k.id))]

    def revoke(self, key_id: int, *, by: int | None = None) -> ApiKey:
        """Revoke a key, effective from the next request on. Idempotent. `by` is the key that asks for it, if any.
        Raises KeyNotFound, and InvalidToken when `by` was revoked meanwhile."""
        with self._database.write() as connection:
            if by is not None:
                _check_not_revoked(connection, by, key_id)
            row = connection.execute(
                update(api_keys)
                .where(_k.id == key_id)
                .values(revoked_at=func.coalesce(_k.revoked_at, now()))
                .returning(api_keys)
            ).one_or_none()
        if row is None:
            raise KeyNotFound(f"There is no key {key_id}.")
        return _key(row)

    def set_limits(self, key_id: int, *, rate_limit_generate: str | None, rate_limit_read: str | None) -> ApiKey:
        """Raises KeyNotFound, also for a revoked key."""
        with self._database.write() as connection:
            row = connection.execute(
                update(api_keys)
                .where(_k.id == key_id, _k.revoked_at.is_(None))
                .values(rate_limit_generate=rate_limit_generate, rate_limit_read=rate_limit_read)
                .returning(api_keys)
            ).one_or_none()
        if row is None:
            raise KeyNotFound(f"There is no key {key_id} that is not revoked.")
        return _key(row)

    def by_hash(self, sha256: str) -> ApiKey | None:
        """The key whose token has this hash, unless it is revoked."""
        found = self._find(_BY_HASH, sha256)
        # The index lookup is not constant-time either; but clients cannot choose a hash's value.
        return found if found is not None and hmac.compare_digest(found.sha256, sha256) else None

    def by_id(self, key_id: int) -> ApiKey | None:
        """The key, unless it is revoked."""
        return self._find(_BY_ID, key_id)

    def used(self, key: ApiKey) -> None:
        """Set last_used_at, if its value is old."""
        old = or_(_k.last_used_at.is_(None), _k.last_used_at < now() - USED_RESOLUTION_SECONDS)
        with self._database.write(durable=False) as connection:
            connection.execute(update(api_keys).where(_k.id == key.id, old).values(last_used_at=now()))

    def _find(self, statement: Any, value: Any) -> ApiKey | None:
        with self._database.read() as connection:
            row = connection.execute(statement, {"value": value}).one_or_none()
        return None if row is None else _key(row)


def _check_not_revoked(connection: Connection, by: int, key_id: int) -> None:
    """Locks both keys until the transaction ends, so that two keys cannot revoke each other. Raises InvalidToken."""
    both = select(_k.id, _k.revoked_at).where(_k.id.in_((by, key_id))).order_by(_k.id)
    found = connection.execute(both.with_for_update())  # PostgreSQL; in SQLite writers are exclusive already
    if not any(row.id == by and row.revoked_at is None for row in found):
        raise InvalidToken("The key of this request was revoked.")


def _not_revoked(which: ColumnElement[bool]) -> Any:
    return select(api_keys).where(which, _k.revoked_at.is_(None))


# Built once: every request runs one of them.
_BY_HASH = _not_revoked(_k.sha256 == bindparam("value"))
_BY_ID = _not_revoked(_k.id == bindparam("value"))


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(**{**row._mapping, "role": Role(row.role)})
