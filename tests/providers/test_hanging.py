"""Calls and downloads that hang: a stall is noticed, a cancel is seen at once, and a webhook's result is believed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from app.core.job import JobStatus
from app.services.jobs import cancel
from app.worker.loop import Worker
from tests.providers.client import completed, run
from tests.providers.replicate_server import Script, StandIn
from tests.providers.test_webhooks_api import Hooked, hooked  # noqa: F401 - a fixture
from tests.waiting import wait_until
from tests.worker.harness import Harness


def cancelled(harness: Harness, job_id: str) -> None:
    cancel.cancel(harness.context, job_id)
    assert harness.ended(job_id).job.status is JobStatus.CANCELLED


def test_a_download_that_stalls_is_tried_again(
    new_harness: Callable[..., Harness], settings: dict[str, str], provider: StandIn, start_worker: Callable
) -> None:
    harness = new_harness(**settings, REMOTE_STALL_SECONDS="1")
    provider.scripts["stalls"] = Script(fetches=["stall"])
    start_worker(harness)
    job_id = harness.submit("stalls", model_id="painter")
    harness.completed(job_id)
    prediction = harness.context.predictions.of_job(job_id)
    assert prediction is not None
    assert (prediction.download_retries, len(provider.created_for("stalls"))) == (1, 1)
    assert not provider.release.is_set()


def test_a_cancel_is_seen_while_a_download_stalls(harness: Harness, provider: StandIn, worker: Worker) -> None:
    provider.scripts["stalls"] = Script(fetches=["stall"])
    job_id = harness.submit("stalls", model_id="painter")
    wait_until(lambda: provider.fetched, "nothing is fetched")
    cancelled(harness, job_id)
    assert not provider.release.is_set()


@pytest.mark.parametrize("what", ["model", "create", "poll"])
def test_a_cancel_is_seen_while_a_call_hangs(
    harness: Harness, provider: StandIn, worker: Worker, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.worker.abandoned_predictions.LATE_SECONDS", 600.0)
    provider.hanging = {what}
    provider.scripts["hangs"] = Script(hold=threading.Event())
    job_id = harness.submit("hangs", model_id="painter")
    path = {"model": "/v1/models/acme/painter", "create": "/predictions", "poll": "/v1/predictions/"}[what]
    wait_until(lambda: any(path in asked for _, asked in provider.asked), "it was not asked")
    cancelled(harness, job_id)
    assert not provider.release.is_set()
    time.sleep(0.5)  # several sweeps find nothing at the provider, and must not forget it
    provider.release.set()
    wait_until(lambda: all(made.status == "canceled" for made in provider.predictions.values()), "it runs on")
    assert len(provider.predictions) <= 1


@pytest.mark.parametrize("what", ["create", "poll"])
def test_the_webhooks_result_is_believed_while_a_call_hangs(
    hooked: Hooked,  # noqa: F811
    provider: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    monkeypatch.setattr("app.engines.replicate.poll.POLL_PAUSES_WITH_WEBHOOK", (0.01,))
    provider.hanging = {what}
    provider.scripts["told"] = Script(seconds=1.0)
    completed(hooked.client, run(hooked.client, prompt="told"))
    assert not provider.release.is_set()
    assert (len(provider.created_for("told")), provider.cancels) == (1, [])


def test_a_result_that_is_reported_with_the_cancel_is_not_thrown_away(
    new_harness: Callable[..., Harness],
    settings: dict[str, str],
    provider: StandIn,
    start_worker: Callable,
) -> None:
    """It succeeded before the time limit, and no poll noticed."""
    harness = new_harness(**settings | {"REMOTE_TIMEOUT_SECONDS": "2"})
    provider.hanging = {"poll"}
    start_worker(harness)
    job_id = harness.submit("just in time", model_id="painter")
    harness.completed(job_id)
    assert len(provider.cancels) == 1
