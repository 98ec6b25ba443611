"""The webhook outbox for dispatchers: claim due deliveries, store results; list and replay.

`outbox.enqueue_webhooks` inserts messages. Claiming is a lease: `due_at` moves past the longest possible delivery, so
after a crash the message is due again (receivers detect repeats by its id). Writes are fenced on `attempt`.

An endpoint that times out is paused: none of its messages is due before the pause ends, and those not attempted
meanwhile keep all their attempts. The first response ends the pause.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, select, update

from app.core.webhooks import JITTER, PAUSE, RETRY_DELAYS, TRIES, Delivery, DeliveryState
from app.errors import DeliveryNotFound
from app.store.db.database import Database, now
from app.store.db.schema import UNDELIVERED, webhook_deliveries, webhook_pauses
from app.store.db.upsert import insert_into
from app.store.ops.secrets import secret

KEPT_SECONDS = 30 * 86400.0  # how long ended deliveries can be listed and replayed
_LONGEST_WAIT = max(RETRY_DELAYS) * (1 + JITTER)
_ERROR_MAX_CHARS = 300
_SIGNING_KEY = "webhook_signing_key"
_d = webhook_deliveries.c
_p = webhook_pauses.c


@dataclass(frozen=True)
class SkippedReceivers:
    """Endpoints, hosts and job owners whose messages must not be claimed now."""

    endpoints: Collection[str] = ()
    receivers: Collection[str] = ()
    owners: Collection[str] = ()


NONE_SKIPPED = SkippedReceivers()


class WebhookStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(
        self, *, lease_seconds: float, skipped: SkippedReceivers = NONE_SKIPPED, retries: bool = True
    ) -> Delivery | None:
        """Claim the delivery that has been due for longest, first attempts before retries, except for `skipped`; None
        if nothing is due. Without `retries` only first attempts are claimed."""
        choices = [_due(_d.tries_left == TRIES, skipped)]
        if retries:
            choices.append(_due(_d.tries_left < TRIES, skipped))
        with self._database.read() as connection:  # an idle poll must not take the write lock
            found = next((due for due in choices if connection.scalar(due) is not None), None)
        if found is None:
            return None
        with self._database.write(durable=False) as connection:
            seq = connection.scalar(found.with_for_update(skip_locked=True))
            row = connection.execute(
                update(webhook_deliveries)
                .where(_d.seq == seq, UNDELIVERED)
                .values(
                    attempt=_d.attempt + 1,
                    tries_left=_d.tries_left - 1,
                    attempted_at=now(),
                    due_at=now() + lease_seconds,
                )
                .returning(webhook_deliveries)
            ).one_or_none()
        return None if row is None else _delivery(row)

    def delivered(self, delivery: Delivery, response_status: int) -> bool:
        """Mark as delivered. False if another dispatcher has claimed the delivery meanwhile."""
        with self._database.write() as connection:
            _end_pause(connection, delivery.endpoint)
            return _settle(
                connection,
                delivery,
                state=DeliveryState.DELIVERED.value,
                delivered_at=now(),
                response_status=response_status,
                error=None,
            )

    def failed(
        self,
        delivery: Delivery,
        error: str,
        *,
        response_status: int | None = None,
        retry_in: float | None,
        timed_out: bool = False,
    ) -> bool:
        """Store a failed attempt; due again in `retry_in` seconds, or DEAD. `timed_out` pauses the endpoint, any other
        failure ends its pause. False if another dispatcher has claimed the delivery."""
        dead = {"state": DeliveryState.DEAD.value} if retry_in is None else {"due_at": now() + retry_in}
        with self._database.write() as connection:
            written = {"error": error[:_ERROR_MAX_CHARS], "response_status": response_status, **dead}
            still_owned = _settle(connection, delivery, **written)
            if timed_out:
                _pause(connection, delivery.endpoint)
            else:
                _end_pause(connection, delivery.endpoint)
        return still_owned

    def page(
        self,
        *,
        job_id: str | None = None,
        state: DeliveryState | None = None,
        limit: int = 50,
        before_seq: int | None = None,
        owner: str | None = None,
    ) -> list[Delivery]:
        """The newest deliveries first; `before_seq` continues an earlier page."""
        query = select(webhook_deliveries).order_by(_d.seq.desc()).limit(limit)
        if job_id is not None:
            query = query.where(_d.job_id == job_id)
        if state is not None:
            query = query.where(_d.state == state.value)
        if owner is not None:
            query = query.where(_d.owner == owner)
        if before_seq is not None:
            query = query.where(_d.seq < before_seq)
        with self._database.read() as connection:
            return [_delivery(row) for row in connection.execute(query)]

    def replay(self, delivery_id: str) -> Delivery:
        """Make a delivery due now, with fresh attempts, in whatever state it is. Raises DeliveryNotFound."""
        with self._database.write() as connection:
            row = connection.execute(
                update(webhook_deliveries)
                .where(_d.id == delivery_id)
                .values(state=DeliveryState.PENDING.value, tries_left=TRIES, due_at=now(), delivered_at=None)
                .returning(webhook_deliveries)
            ).one_or_none()
        if row is None:
            raise DeliveryNotFound("There is no webhook delivery with this id.")
        return _delivery(row)

    def clean_up(self, kept_seconds: float = KEPT_SECONDS) -> int:
        """Delete deliveries that ended more than `kept_seconds` ago, and reset due times in the far future, left by a
        clock set back. Returns how many were deleted."""
        ended = _d.state.in_([DeliveryState.DELIVERED.value, DeliveryState.DEAD.value])
        with self._database.write() as connection:
            connection.execute(
                update(webhook_deliveries)
                .where(UNDELIVERED, _d.due_at > now() + _LONGEST_WAIT + 60)
                .values(due_at=now())
            )
            connection.execute(delete(webhook_pauses).where(_p.until < now() - _LONGEST_WAIT))
            old = delete(webhook_deliveries).where(ended, _d.attempted_at < now() - kept_seconds)
            return connection.execute(old).rowcount

    def signing_key(self, make: Callable[[], str]) -> str:
        """The key for signing webhooks; generated by `make` on first use."""
        return secret(self._database, _SIGNING_KEY, make)


def _due(which: ColumnElement[bool], skipped: SkippedReceivers) -> Select[tuple[int]]:
    refused = (
        (_d.endpoint, skipped.endpoints),
        (_d.receiver, skipped.receivers),
        (_d.owner, skipped.owners),
    )
    others = [column.not_in(list(values)) for column, values in refused if values]
    return select(_d.seq).where(UNDELIVERED, which, _d.due_at <= now(), *others).order_by(_d.due_at).limit(1)


def _settle(connection: Connection, delivery: Delivery, **values: Any) -> bool:
    still_owned = and_(_d.seq == delivery.seq, _d.attempt == delivery.attempt, UNDELIVERED)
    return connection.execute(update(webhook_deliveries).where(still_owned).values(**values)).rowcount == 1


def _pause(connection: Connection, endpoint: str) -> None:
    timeouts = (connection.scalar(select(_p.timeouts).where(_p.endpoint == endpoint)) or 0) + 1
    values = {"timeouts": timeouts, "until": now() + PAUSE.seconds(timeouts, random.random())}
    statement = insert_into(webhook_pauses, connection).values(endpoint=endpoint, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=[_p.endpoint], set_=values))
    until = select(_p.until).where(_p.endpoint == endpoint).scalar_subquery()
    waiting = UNDELIVERED, _d.endpoint == endpoint, _d.due_at < until
    connection.execute(update(webhook_deliveries).where(*waiting).values(due_at=until))


def _end_pause(connection: Connection, endpoint: str) -> None:
    """Delete the endpoint's pause, and make messages without an attempt due now."""
    if connection.execute(delete(webhook_pauses).where(_p.endpoint == endpoint)).rowcount:
        waiting = UNDELIVERED, _d.endpoint == endpoint, _d.tries_left == TRIES, _d.due_at > now()
        connection.execute(update(webhook_deliveries).where(*waiting).values(due_at=now()))


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(**{**row._mapping, "state": DeliveryState(row.state)})
