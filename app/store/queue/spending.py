"""What clients have spent on remote generations, by day (UTC, by the database's clock)."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from app.core.addresses import network_of_client
from app.core.spending import DAY_SECONDS, Charge
from app.core.times import iso
from app.errors import SpendLimit
from app.store.db.database import now
from app.store.db.schema import spending
from app.store.db.upsert import insert_into

KEPT_DAYS = 7


def spend(connection: Connection, client_id: str, charge: Charge, *, predictions: int = 1) -> None:
    """Add `charge`, of so many `predictions`, to the client's day, in the transaction that makes it. Raises SpendLimit,
    so that all of the transaction is rolled back. Concurrent charges of one client follow each other: each locks the
    row."""
    at = float(connection.scalar(select(now())) or 0.0)
    day = int(at // DAY_SECONDS)
    client = network_of_client(client_id)
    added = insert_into(spending, connection).values(
        day=day, client_id=client, predictions=predictions, amount=charge.price
    )
    sums = connection.execute(
        added.on_conflict_do_update(
            index_elements=[spending.c.day, spending.c.client_id],
            set_={
                "predictions": spending.c.predictions + predictions,
                "amount": spending.c.amount + added.excluded.amount,
            },
        ).returning(spending.c.predictions, spending.c.amount)
    ).one()
    connection.execute(delete(spending).where(spending.c.day < day - KEPT_DAYS))
    problem = charge.problem(sums.predictions, sums.amount)
    if problem is not None:
        ends = (day + 1) * DAY_SECONDS
        raise SpendLimit(f"At most {problem}. Try again after {iso(ends)}.", retry_after=ends - at)
