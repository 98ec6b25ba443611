"""What a batch may still take: jobs, spending, time. Each is a condition of the UPDATE that uses it up, so that of
concurrent requests none goes by what was true before the other."""

from __future__ import annotations

from typing import Any, NoReturn

from sqlalchemy import ColumnElement, Connection, not_, or_, select, update

from app.core.batches.batch import Batch
from app.errors import Conflict, FieldError, InvalidRequest
from app.store.db.database import now
from app.store.db.schema import batches
from app.store.queue.batches import find

LATE = batches.c.max_seconds.is_not(None) & (batches.c.created_at + batches.c.max_seconds <= now())
_ROUNDING = 1e-9  # of sums of prices


def grow(connection: Connection, batch_id: str, more: int, price: float, most_jobs: int | None) -> Any:
    """Count so many `more` jobs and their price. Returns the row's `jobs` and `paused_at`. Raises Conflict if the batch
    was cancelled or is past its deadline, and InvalidRequest if it may not have so many jobs or cost so much."""
    conditions = [batches.c.id == batch_id, batches.c.stopped.is_(None), not_(LATE), *_affordable(price)]
    if most_jobs is not None:
        conditions.append(batches.c.jobs + more <= most_jobs)
    values = {"jobs": batches.c.jobs + more, "spent": batches.c.spent + price, "ended_at": None}
    grown = update(batches).where(*conditions).values(**values).returning(batches.c.jobs, batches.c.paused_at)
    row = connection.execute(grown).one_or_none()
    if row is None:
        _refuse_growth(connection, find(connection, batch_id), more, price, most_jobs)
    return row


def reopen(connection: Connection, batch_id: str, *, price: float = 0.0) -> None:
    """Note that jobs were put back, which costs so much. Raises Conflict past the deadline, and InvalidRequest if it is
    more than is left of `max_spend`."""
    values = {"stopped": None, "ended_at": None, "spent": batches.c.spent + price, "progressed_at": now()}
    open_again = update(batches).where(batches.c.id == batch_id, not_(LATE), *_affordable(price))
    if connection.execute(open_again.values(**values)).rowcount:
        return
    batch = find(connection, batch_id)
    refuse_when_late(connection, batch_id)
    check_retries(price, batch)
    raise Conflict("The batch has changed meanwhile; try again.")


def check_retries(price: float, batch: Batch) -> None:
    """Raises InvalidRequest if it is more than is left of `max_spend`."""
    if price and batch.max_spend is not None and batch.spent + price > batch.max_spend + _ROUNDING:
        raise InvalidRequest(f"The retries cost {price:g}, which is more than is left of max_spend.")


def check_price(price: float, spent: float, most: float | None) -> None:
    """Raises InvalidRequest if jobs of this price exceed `max_spend`, of which so much is spent."""
    if most is not None and price + spent > most + _ROUNDING:
        message = f"is {most:g}, but the jobs cost {price + spent:g}; raise it, or make fewer jobs"
        raise InvalidRequest(f"max_spend {message}.", errors=[FieldError("max_spend", message)])


def check_number(number: int, most: int | None) -> None:
    """Raises InvalidRequest if a batch may not have so many jobs."""
    if most is not None and number > most:
        message = f"would have {number:,} jobs; MAX_BATCH_JOBS is the most of one batch"
        raise InvalidRequest(f"The batch {message}.", errors=[FieldError("body", message)])


def _affordable(price: float) -> list[ColumnElement[bool]]:
    """What costs nothing is never refused."""
    if not price:
        return []
    return [or_(batches.c.max_spend.is_(None), batches.c.spent + price <= batches.c.max_spend + _ROUNDING)]


def refuse_when_late(connection: Connection, batch_id: str) -> None:
    """Raises Conflict past the deadline of the batch: maintenance would cancel at once what is put in the queue."""
    if connection.scalar(select(batches.c.id).where(batches.c.id == batch_id, LATE)) is not None:
        raise Conflict("The deadline of the batch (max_seconds) has passed; submit a new batch.")


def _refuse_growth(connection: Connection, batch: Batch, more: int, price: float, most_jobs: int | None) -> NoReturn:
    """Say why the batch did not grow."""
    refuse_when_late(connection, batch.id)
    if batch.stopped is None:
        check_price(price, batch.spent, batch.max_spend if price else None)
        check_number(batch.jobs + more, most_jobs)
    raise Conflict("The batch was cancelled; submit a new one.")
