"""Above the configured limit new jobs are refused with Retry-After, and only new ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import load_settings
from app.core.job import Phase
from app.core.request import GenerationInput
from app.errors import DiskFull, IdempotencyConflict, QueueFull
from app.services.context import AppContext, open_context
from app.services.jobs.submit import USUAL_WAIT_SECONDS, submit
from tests.store.harness import Store

ASKED = GenerationInput(prompt="a red boat")


@pytest.fixture
def context(tmp_path: Path) -> Iterator[AppContext]:
    settings = load_settings(
        {},
        None,
        database_url=f"sqlite:///{tmp_path / 'queue.db'}",
        images_dir=tmp_path / "images",
        queue_max_pending=2,
        disk_floor_bytes=0,
    )
    opened = open_context(settings)
    yield opened
    opened.close()


def fill(context: AppContext) -> None:
    for _ in range(2):
        submit(context, ASKED, client_id="alice")


def test_a_full_queue_refuses_until_a_job_was_taken(context: AppContext) -> None:
    fill(context)
    with pytest.raises(QueueFull) as refused:
        submit(context, ASKED, client_id="bob")
    assert refused.value.retry_after == USUAL_WAIT_SECONDS
    assert context.jobs.count_pending() == 2
    context.claims.claim("w1")
    assert submit(context, ASKED, client_id="bob").is_new


@pytest.mark.parametrize(("seconds", "retry_after"), [(0.01, 1.0), (60.0, 60.0), (9000.0, 300.0)])
def test_retry_after_is_when_a_running_job_should_end(context: AppContext, seconds: float, retry_after: float) -> None:
    store = Store(context.database)
    submit(context, ASKED, client_id="alice")
    store.complete(store.claim(), **{Phase.GENERATING.value: seconds})
    fill(context)
    store.claim()
    submit(context, ASKED, client_id="alice")
    with pytest.raises(QueueFull) as refused:
        submit(context, ASKED, client_id="bob")
    assert refused.value.retry_after == pytest.approx(retry_after, rel=0.01)


def test_a_request_that_was_accepted_is_answered_though_the_queue_is_full(context: AppContext) -> None:
    first = submit(context, ASKED, client_id="alice", idempotency_key="k")
    submit(context, ASKED, client_id="alice")
    again = submit(context, ASKED, client_id="alice", idempotency_key="k")
    assert (again.job_id, again.is_new, again.position) == (first.job_id, False, 1)
    with pytest.raises(QueueFull):
        submit(context, ASKED, client_id="bob", idempotency_key="k")  # keys are per client
    with pytest.raises(IdempotencyConflict):
        submit(context, ASKED, client_id="alice", idempotency_key="k", priority=1)


def test_a_request_that_was_accepted_is_answered_though_the_disk_is_full(
    context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = submit(context, ASKED, client_id="alice", idempotency_key="k")
    monkeypatch.setattr(type(context.images), "free_bytes", lambda _: -1)
    assert submit(context, ASKED, client_id="alice", idempotency_key="k").job_id == first.job_id
    with pytest.raises(DiskFull):
        submit(context, ASKED, client_id="alice")
