"""Every end of a job inserts the message in the same transaction, with the same content as the status."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy.exc import IntegrityError

from app.core.job import JobView
from app.core.webhooks import TRIES
from app.errors import LeaseLost, ModelUnavailable
from app.services.job_body import JobBody
from app.store.queue.lease_expiry import MAX_INTERRUPTIONS
from tests.services.webhooks.conftest import Harness
from tests.store.harness import an_output

URL = "https://Hooks.Example:8443/made?key=s3cret"


def complete(harness: Harness) -> None:
    harness.store.complete(harness.store.claim())


def fail(harness: Harness) -> None:
    harness.store.claims.fail(harness.store.claim(), ModelUnavailable("no such weights"))


def cancel_waiting(harness: Harness) -> None:
    (job,) = harness.store.jobs.waiting()
    harness.store.jobs.cancel(job.id)


def cancel_running(harness: Harness) -> None:
    claim = harness.store.claim()
    harness.store.jobs.cancel(claim.job_id)
    assert harness.deliveries() == []  # not ended yet
    harness.store.claims.cancelled(claim)


def cancel_while_failing(harness: Harness) -> None:
    claim = harness.store.claim()
    harness.store.jobs.cancel(claim.job_id)
    harness.store.claims.fail(claim, ModelUnavailable("x"), retry_in=1)


def cancel_while_given_back(harness: Harness) -> None:
    claim = harness.store.claim()
    harness.store.jobs.cancel(claim.job_id)
    harness.store.claims.release(claim)


def die_for_good(harness: Harness) -> None:
    claim = harness.store.claim()
    harness.store.edit(claim.job_id, interruptions=MAX_INTERRUPTIONS)
    harness.store.expire(claim)
    harness.store.claims.expire_leases()


def die_cancelled(harness: Harness) -> None:
    claim = harness.store.claim()
    harness.store.jobs.cancel(claim.job_id)
    harness.store.expire(claim)
    harness.store.claims.expire_leases()


ENDINGS = {
    complete: "completed",
    fail: "failed",
    cancel_waiting: "cancelled",
    cancel_running: "cancelled",
    cancel_while_failing: "cancelled",
    cancel_while_given_back: "cancelled",
    die_for_good: "failed",
    die_cancelled: "cancelled",
}


@pytest.mark.parametrize(("end", "outcome"), ENDINGS.items(), ids=[end.__name__ for end in ENDINGS])
def test_every_ending_is_announced_once(both: Harness, end: Callable[[Harness], None], outcome: str) -> None:
    job_id = both.submit(URL)
    end(both)
    delivery = both.only(job_id)
    assert delivery.event == f"job.{outcome}"
    assert (delivery.url, delivery.receiver) == (URL, "https://hooks.example:8443")
    assert (delivery.state, delivery.attempt, delivery.tries_left) == ("PENDING", 0, TRIES)
    message = json.loads(delivery.payload)
    job = both.store.jobs.get(job_id)
    assert message["type"] == f"job.{outcome}"
    view = JobView(job, outputs=both.store.outputs.of_job(job_id))
    assert message["data"] == json.loads(json.dumps(JobBody.of(view).as_dict()))
    assert message["timestamp"] == message["data"]["completed_at"]
    assert message["data"]["status"] == outcome.upper()


def test_the_message_holds_the_pictures_and_the_warnings_of_the_end(both: Harness) -> None:
    job_id = both.submit(URL, warnings=["early"])
    claim = both.store.claim()
    made = [an_output(job_id, index) for index in range(2)]
    both.store.claims.complete(claim, made, timings={"generating": 1.5}, warnings=["late"])
    data = json.loads(both.only(job_id).payload)["data"]
    assert [image["image_id"] for image in data["images"]] == [output.id for output in made]
    assert data["warnings"] == ["early", "late"]
    assert data["timings"] == {"generating": 1.5}
    assert data["progress"]["percent"] == 100


def test_the_message_holds_signed_urls_of_the_pictures(both: Harness) -> None:
    job_id = both.submit(URL)
    claim = both.context.claims.claim("worker")
    assert claim is not None
    made = an_output(job_id)
    both.context.claims.complete(claim, [made], timings={})
    (image,) = json.loads(both.only(job_id).payload)["data"]["images"]
    query = parse_qs(urlsplit(image["signed"]["url"]).query)
    ((expires,), (signature,)) = (query["expires"], query["signature"])
    left = both.context.signed_urls.check("file", made.id, expires, signature)
    assert 3000 < left <= both.context.settings.signed_url_seconds


@pytest.mark.parametrize("end", ENDINGS, ids=[end.__name__ for end in ENDINGS])
def test_jobs_without_a_webhook_have_no_deliveries(harness: Harness, end: Callable[[Harness], None]) -> None:
    harness.submit(None)
    end(harness)
    assert harness.deliveries() == []


def test_what_does_not_end_a_job_is_not_announced(both: Harness) -> None:
    both.submit(URL)
    both.store.claims.release(both.store.claim())
    both.store.claims.fail(both.store.claim(), ModelUnavailable("x"), retry_in=0)
    claim = both.store.claim()
    both.store.lose(claim)
    with pytest.raises(LeaseLost):
        both.store.complete(claim)
    with pytest.raises(LeaseLost):
        both.store.claims.fail(claim, ModelUnavailable("x"))
    assert both.deliveries() == []


def test_cancelling_twice_announces_once(both: Harness) -> None:
    job_id = both.submit(URL)
    both.store.jobs.cancel(job_id)
    both.store.jobs.cancel(job_id)
    assert both.only(job_id).event == "job.cancelled"


def test_a_retried_job_is_announced_again_and_the_first_message_stays_as_it_was(both: Harness) -> None:
    job_id = both.submit(URL)
    fail(both)
    first = both.only(job_id)
    both.store.jobs.retry(job_id, max_attempts=1)
    complete(both)
    second, unchanged = both.deliveries(job_id)
    assert unchanged == first
    assert (second.event, second.id != first.id) == ("job.completed", True)


@pytest.mark.parametrize("end", ENDINGS, ids=[end.__name__ for end in ENDINGS])
def test_a_job_whose_message_cannot_be_written_has_not_ended(
    both: Harness, end: Callable[[Harness], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = both.submit(URL)
    monkeypatch.setattr("app.store.queue.outbox.event_of", lambda job: None)  # NOT NULL says no
    with pytest.raises(IntegrityError):
        end(both)
    assert both.store.row(job_id).status in ("PENDING", "PROCESSING")
    assert both.store.output_count() == 0
    assert both.deliveries() == []
