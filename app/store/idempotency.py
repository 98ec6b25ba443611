"""Idempotency-Keys: the same key of the same client is the same request, however often it is sent."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from app.errors import IdempotencyConflict
from app.store.clock import now
from app.store.schema import idempotency_keys
from app.store.upsert import insert_into


@dataclass(frozen=True)
class IdempotencyKey:
    """A client's promise that requests with the same `key` are the same request; `body_sha256` checks it."""

    key: str
    body_sha256: str


def is_first_use(connection: Connection, client_id: str, idempotency: IdempotencyKey, job_id: str) -> bool:
    """Write the key down for `job_id`, unless it is there already.

    Call it before the job is inserted: of two requests that come at the same moment, PostgreSQL lets the second wait
    here for the first one's commit (SQLite does at the start of the transaction).
    """
    written = connection.scalar(
        insert_into(idempotency_keys, connection)
        .values(
            client_id=client_id,
            key=idempotency.key,
            body_sha256=idempotency.body_sha256,
            job_id=job_id,
            created_at=now(),
        )
        .on_conflict_do_nothing()
        .returning(idempotency_keys.c.job_id)
    )
    return written is not None


def job_of(connection: Connection, client_id: str, idempotency: IdempotencyKey) -> str | None:
    """The id of the job that was made for this key. Raises IdempotencyConflict when its body was another."""
    row = connection.execute(
        select(idempotency_keys.c.body_sha256, idempotency_keys.c.job_id).where(
            idempotency_keys.c.client_id == client_id, idempotency_keys.c.key == idempotency.key
        )
    ).one_or_none()
    if row is None:
        return None
    if row.body_sha256 != idempotency.body_sha256:
        raise IdempotencyConflict("This Idempotency-Key was used with another body. Use a fresh key for a new request.")
    job_id: str = row.job_id
    return job_id
