"""Idempotency-Keys: requests of one client with the same key are the same request and get the same answer, whatever
the job's status is by then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, select, update

from app.errors import IdempotencyConflict
from app.store.db.database import now
from app.store.db.schema import idempotency_keys
from app.store.db.upsert import insert_into


@dataclass(frozen=True)
class IdempotencyKey:
    """A client's key for repeated requests; `body_sha256` checks that the bodies are equal."""

    key: str
    body_sha256: str


@dataclass(frozen=True)
class FirstAnswer:
    """The answer to the first request: its job, which was PENDING at `position`, and the warnings."""

    job_id: str
    position: int | None
    warnings: tuple[str, ...]


def is_first_use(connection: Connection, client_id: str, idempotency: IdempotencyKey, job_id: str) -> bool:
    """Insert the key for `job_id`. Returns False if it exists already.

    Call it before the job is inserted: of two concurrent requests, PostgreSQL blocks the second here until the first
    one's commit (SQLite at the start of the transaction).
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


def store_answer(
    connection: Connection, client_id: str, idempotency: IdempotencyKey, *, position: int, warnings: Sequence[str]
) -> None:
    """Store the parts of the first answer that the job itself does not keep."""
    connection.execute(
        update(idempotency_keys)
        .where(_row_of(client_id, idempotency))
        .values(position=position, warnings=list(warnings))
    )


def first_answer(connection: Connection, client_id: str, idempotency: IdempotencyKey) -> FirstAnswer | None:
    """The answer to the first request with this key. Raises IdempotencyConflict if its body was different."""
    row = connection.execute(
        select(
            idempotency_keys.c.body_sha256,
            idempotency_keys.c.job_id,
            idempotency_keys.c.position,
            idempotency_keys.c.warnings,
        ).where(_row_of(client_id, idempotency))
    ).one_or_none()
    if row is None:
        return None
    if row.body_sha256 != idempotency.body_sha256:
        raise IdempotencyConflict("This Idempotency-Key was used with another body. Use a new key for a new request.")
    return FirstAnswer(row.job_id, row.position, tuple(row.warnings or ()))


def newest_key(connection: Connection, client_id: str, prefix: str, within_seconds: float) -> tuple[str, str] | None:
    """The client's newest key that begins with `prefix` and is no older, and the id of its job."""
    keys = idempotency_keys.c
    row = connection.execute(
        select(keys.key, keys.job_id)
        .where(
            keys.client_id == client_id,
            keys.key.startswith(prefix, autoescape=True),
            keys.created_at > now() - within_seconds,
        )
        .order_by(keys.created_at.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else (row.key, row.job_id)


def _row_of(client_id: str, idempotency: IdempotencyKey) -> ColumnElement[bool]:
    return and_(idempotency_keys.c.client_id == client_id, idempotency_keys.c.key == idempotency.key)
