"""Above the configured limit new jobs are refused with Retry-After, and only new ones."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import load_settings
from app.core.job import Phase
from app.core.request import GenerationInput, GenerationSettings
from app.errors import DiskFull, IdempotencyConflict, QueueFull
from app.files.probe import LEAST_FREE_BYTES
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


@pytest.mark.parametrize(
    ("free", "settings", "accepted"),
    [
        (0, {}, False),
        (LEAST_FREE_BYTES - 1, {"width": 128, "height": 128}, False),
        (2_000_000, {"width": 128, "height": 128}, True),
        (2_000_000, {"width": 512, "height": 512, "num_images": 4}, False),
        (4_000_000, {"width": 512, "height": 512, "num_images": 4}, True),
    ],
)
def test_without_a_floor_what_cannot_be_kept_is_refused(
    context: AppContext, monkeypatch: pytest.MonkeyPatch, free: int, settings: dict[str, int], accepted: bool
) -> None:
    monkeypatch.setattr(type(context.images), "free_bytes", lambda _: free)
    asked = GenerationInput(prompt="a red boat", settings=GenerationSettings(**settings))
    if accepted:
        assert submit(context, asked, client_id="alice").is_new
        return
    with pytest.raises(DiskFull):
        submit(context, asked, client_id="alice")
    assert context.jobs.count_pending() == 0


def test_without_a_floor_a_full_database_disk_refuses(context: AppContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(context.database), "free_bytes", lambda _: 0, raising=False)
    with pytest.raises(DiskFull, match="database"):
        submit(context, ASKED, client_id="alice")


def test_a_mount_that_is_gone_refuses_instead_of_failing(context: AppContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(shutil, "disk_usage", gone)
    with pytest.raises(DiskFull):
        submit(context, ASKED, client_id="alice")
