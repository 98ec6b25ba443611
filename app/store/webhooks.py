"""The outbox from the side of whoever delivers: claim what is due, write down what came of it; list and replay.

Messages get in through `outbox.announce`. Claiming is a lease: `due_at` moves past the time that a delivery may take,
so after a crash the message is due again (receivers tell repeats by its id). Writes are fenced on `attempt`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import Row, and_, delete, select, update

from app.core.webhooks import JITTER, RETRY_DELAYS, TRIES, Delivery, DeliveryState
from app.errors import DeliveryNotFound
from app.store.clock import now
from app.store.database import Database
from app.store.schema import UNDELIVERED, webhook_deliveries
from app.store.secrets import secret

KEPT_SECONDS = 30 * 86400.0  # how long what was delivered, or given up, can be looked up and replayed
_LONGEST_WAIT = max(RETRY_DELAYS) * (1 + JITTER)
_ERROR_MAX_CHARS = 300
_SIGNING_KEY = "webhook_signing_key"
_d = webhook_deliveries.c


class WebhookStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, *, lease_seconds: float, not_to: Collection[str] = ()) -> Delivery | None:
        """Take the delivery that has been due for longest, to any receiver but `not_to`; None when nothing is due."""
        due = (
            select(_d.seq)
            .where(UNDELIVERED, _d.due_at <= now(), _d.receiver.not_in(list(not_to)))
            .order_by(_d.due_at)
            .limit(1)
        )
        with self._database.read() as connection:  # an idle look must not take the write lock
            if connection.scalar(due) is None:
                return None
        with self._database.write(durable=False) as connection:
            seq = connection.scalar(due.with_for_update(skip_locked=True))
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
        """Done. False when somebody else has taken the delivery over meanwhile."""
        return self._settle(
            delivery,
            state=DeliveryState.DELIVERED.value,
            delivered_at=now(),
            response_status=response_status,
            error=None,
        )

    def failed(
        self, delivery: Delivery, error: str, *, response_status: int | None = None, retry_in: float | None
    ) -> bool:
        """Not delivered; due again in `retry_in` seconds, or DEAD. False when somebody else has taken it over."""
        dead = {"state": DeliveryState.DEAD.value} if retry_in is None else {"due_at": now() + retry_in}
        return self._settle(delivery, error=error[:_ERROR_MAX_CHARS], response_status=response_status, **dead)

    def _settle(self, delivery: Delivery, **values: Any) -> bool:
        still_ours = and_(_d.seq == delivery.seq, _d.attempt == delivery.attempt, UNDELIVERED)
        with self._database.write() as connection:
            changed = connection.execute(update(webhook_deliveries).where(still_ours).values(**values)).rowcount
        return changed == 1

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
        """Make a delivery due now, with fresh tries, whatever became of it. Raises DeliveryNotFound."""
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

    def tidy(self, kept_seconds: float = KEPT_SECONDS) -> int:
        """Forget what ended more than `kept_seconds` ago, and bring back what a clock set back left in the far future.
        Returns how many were forgotten."""
        ended = _d.state.in_([DeliveryState.DELIVERED.value, DeliveryState.DEAD.value])
        with self._database.write() as connection:
            connection.execute(
                update(webhook_deliveries)
                .where(UNDELIVERED, _d.due_at > now() + _LONGEST_WAIT + 60)
                .values(due_at=now())
            )
            old = delete(webhook_deliveries).where(ended, _d.attempted_at < now() - kept_seconds)
            return connection.execute(old).rowcount

    def signing_key(self, make: Callable[[], str]) -> str:
        """The key this installation signs with; made by `make` when it is first asked for."""
        return secret(self._database, _SIGNING_KEY, make)


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(**{**row._mapping, "state": DeliveryState(row.state)})
