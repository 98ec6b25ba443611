"""Past the configured depth new jobs are refused, politely, and only new ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import load_settings
from app.core.job import Phase
from app.core.request import GenerationInput
from app.errors import DiskFull, IdempotencyConflict, QueueFull
from app.services.context import Installation, open_installation
from app.services.jobs.submit import USUAL_WAIT_SECONDS, submit
from tests.store.harness import Store

ASKED = GenerationInput(prompt="a red boat")


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    settings = load_settings(
        {},
        None,
        database_url=f"sqlite:///{tmp_path / 'queue.db'}",
        images_dir=tmp_path / "images",
        queue_max_pending=2,
        disk_floor_bytes=0,
    )
    opened = open_installation(settings)
    yield opened
    opened.close()


def fill(installation: Installation) -> None:
    for _ in range(2):
        submit(installation, ASKED, client_id="alice")


def test_a_full_queue_refuses_until_a_job_was_taken(installation: Installation) -> None:
    fill(installation)
    with pytest.raises(QueueFull) as refused:
        submit(installation, ASKED, client_id="bob")
    assert refused.value.retry_after == USUAL_WAIT_SECONDS
    assert installation.jobs.count_pending() == 2
    installation.claims.claim("w1")
    assert submit(installation, ASKED, client_id="bob").is_new


@pytest.mark.parametrize(("seconds", "retry_after"), [(0.01, 1.0), (60.0, 60.0), (9000.0, 300.0)])
def test_it_says_to_come_back_when_a_running_job_should_end(
    installation: Installation, seconds: float, retry_after: float
) -> None:
    store = Store(installation.database)
    submit(installation, ASKED, client_id="alice")
    store.complete(store.claim(), **{Phase.GENERATING.value: seconds})
    fill(installation)
    store.claim()
    submit(installation, ASKED, client_id="alice")
    with pytest.raises(QueueFull) as refused:
        submit(installation, ASKED, client_id="bob")
    assert refused.value.retry_after == pytest.approx(retry_after, rel=0.01)


def test_a_request_that_was_accepted_is_answered_though_the_queue_is_full(installation: Installation) -> None:
    first = submit(installation, ASKED, client_id="alice", idempotency_key="k")
    submit(installation, ASKED, client_id="alice")
    again = submit(installation, ASKED, client_id="alice", idempotency_key="k")
    assert (again.job_id, again.is_new, again.position) == (first.job_id, False, 1)
    with pytest.raises(QueueFull):
        submit(installation, ASKED, client_id="bob", idempotency_key="k")  # somebody else's key is another key
    with pytest.raises(IdempotencyConflict):
        submit(installation, ASKED, client_id="alice", idempotency_key="k", priority=1)


def test_a_request_that_was_accepted_is_answered_though_the_disk_is_full(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = submit(installation, ASKED, client_id="alice", idempotency_key="k")
    monkeypatch.setattr(type(installation.images), "free_bytes", lambda _: -1)
    assert submit(installation, ASKED, client_id="alice", idempotency_key="k").job_id == first.job_id
    with pytest.raises(DiskFull):
        submit(installation, ASKED, client_id="alice")
