"""Polling the outbox must not cost more with more delivered messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from app.store.ops.webhooks import SkippedReceivers
from tests.services.webhooks.conftest import Harness


@contextmanager
def overheard(harness: Harness) -> Iterator[list[tuple[str, Any]]]:
    heard: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE")):
            heard.append((statement, parameters))

    engine = harness.context.database.engine
    event.listen(engine, "before_cursor_execute", note)
    yield heard
    event.remove(engine, "before_cursor_execute", note)


CALLS = {
    "claim": lambda harness: harness.webhooks.claim(
        lease_seconds=60, skipped=SkippedReceivers(["other"], ["http://other"])
    ),
    "settle": lambda harness: harness.webhooks.delivered(harness.webhooks.claim(lease_seconds=60), 200),
    "of a job": lambda harness: harness.webhooks.page(job_id="x"),
    "newest": lambda harness: harness.webhooks.page(limit=3),
    "replay": lambda harness: harness.webhooks.replay(harness.deliveries()[0].id),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_statement_walks_the_history(harness: Harness, call: Any) -> None:
    harness.finish("https://hooks.example/")
    with overheard(harness) as heard:
        call(harness)
    assert heard
    for statement, parameters in heard:
        with harness.context.database.read() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        steps = [row.detail for row in plan if "webhook_deliveries" in row.detail]
        limited = "ORDER BY webhook_deliveries.seq DESC" in statement  # the end of the table, and no further
        assert steps
        assert all(step.startswith("SEARCH") or limited for step in steps), (statement, steps)
        assert not any("TEMP B-TREE" in row.detail for row in plan), (statement, plan)
