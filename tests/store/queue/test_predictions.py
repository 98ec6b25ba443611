"""Predictions: created under the job's claim, reported by any process, ended once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.core.job import Claim
from app.core.prediction import NO_FILE, Prediction, PredictionStatus, Report
from app.errors import LeaseLost, ProviderError
from app.store.media.retention import RetentionStore
from app.store.ops.counters import Counter, totals
from app.store.queue.predictions import AlreadyTaken, PredictionStore
from tests.store.harness import Store, a_request

SOURCE = "replicate"


@pytest.fixture
def predictions(store: Store) -> PredictionStore:
    return PredictionStore(store.database)


def claimed(store: Store) -> Claim:
    store.jobs.enqueue(a_request(), client_id="alice", lane="remote")
    claim = store.claims.claim("w1", lane="remote")
    assert claim is not None
    return claim


def intended(predictions: PredictionStore, claim: Claim) -> Prediction:
    return predictions.intend(claim, source=SOURCE, model="a/b", input={"prompt": "x", "seed": 7})


def found(predictions: PredictionStore, claim: Claim) -> Prediction:
    prediction = predictions.of_job(claim.job_id)
    assert prediction is not None
    return prediction


def ended(provider_id: str, status: PredictionStatus = PredictionStatus.SUCCEEDED) -> Report:
    return Report(provider_id, status, ("https://x.example/1.png",), None, 2.5)


def test_from_the_intention_to_the_end(store: Store, predictions: PredictionStore) -> None:
    claim = claimed(store)
    assert predictions.of_job(claim.job_id) is None
    prediction = intended(predictions, claim)
    assert (prediction.status, prediction.provider_id, prediction.input["seed"]) == ("intended", None, 7)
    predictions.created(claim, prediction, "p1")
    assert (found(predictions, claim).provider_id, found(predictions, claim).status) == ("p1", "starting")
    revision = store.jobs.revision(claim.job_id)
    assert predictions.observed(SOURCE, Report("p1", PredictionStatus.PROCESSING)) == claim.job_id
    assert predictions.observed(SOURCE, ended("p1")) == claim.job_id
    now = found(predictions, claim)
    assert (now.status, now.outputs, now.predict_seconds) == ("succeeded", ("https://x.example/1.png",), 2.5)
    assert (store.jobs.revision(claim.job_id) or 0) > (revision or 0), "a status that was remembered is old now"


def test_an_end_is_an_end_and_is_counted_once(store: Store, predictions: PredictionStore) -> None:
    claim = claimed(store)
    predictions.created(claim, intended(predictions, claim), "p1")
    predictions.observed(SOURCE, ended("p1"))
    before = found(predictions, claim)
    for late in (
        ended("p1"),
        ended("p1", PredictionStatus.FAILED),
        Report("p1", PredictionStatus.STARTING),
        Report("p1", PredictionStatus.PROCESSING),
    ):
        assert predictions.observed(SOURCE, late) == claim.job_id
    assert replace(found(predictions, claim), age=0, ended_age=0) == replace(before, age=0, ended_age=0)
    with store.database.read() as connection:
        counted = totals(connection)
    assert counted[Counter("remote_predictions", "demo", "replicate/succeeded")] == 1
    assert counted[Counter("remote_predict_seconds", "demo", "replicate")] == 2.5
    assert Counter("remote_predictions", "demo", "replicate/failed") not in counted


def test_a_late_start_report_does_not_revert_the_status(store: Store, predictions: PredictionStore) -> None:
    claim = claimed(store)
    predictions.created(claim, intended(predictions, claim), "p1")
    predictions.observed(SOURCE, Report("p1", PredictionStatus.PROCESSING))
    predictions.observed(SOURCE, Report("p1", PredictionStatus.STARTING))
    assert found(predictions, claim).status == "processing"


def test_what_a_worker_writes_is_fenced(store: Store, predictions: PredictionStore) -> None:
    claim = claimed(store)
    prediction = intended(predictions, claim)
    store.lose(claim)
    with pytest.raises(LeaseLost):
        intended(predictions, claim)
    with pytest.raises(LeaseLost):
        predictions.note_download(claim, prediction, retries=1, error="x")
    assert found(predictions, claim).download_attempted is False
    with pytest.raises(LeaseLost):
        predictions.created(claim, prediction, "p1")
    assert found(predictions, claim).provider_id == "p1", "it is valid, and the current worker needs it"


def test_one_prediction_is_of_one_job(store: Store, predictions: PredictionStore) -> None:
    first, second = claimed(store), claimed(store)
    predictions.created(first, intended(predictions, first), "p1")
    with pytest.raises(AlreadyTaken):
        predictions.created(second, intended(predictions, second), "p1")
    assert predictions.taken(SOURCE, ["p1", "p2"]) == {"p1"}
    assert found(predictions, second).provider_id is None


def test_an_unknown_prediction_belongs_to_no_job(store: Store, predictions: PredictionStore) -> None:
    claim = claimed(store)
    prediction = intended(predictions, claim)
    assert predictions.observed(SOURCE, ended("unknown")) is None
    assert predictions.observed(SOURCE, ended("unknown"), intent="0" * 32) is None
    assert predictions.observed("openai", ended("p1"), intent=prediction.id) is None
    assert predictions.observed(SOURCE, ended("p1"), intent=prediction.id) == claim.job_id
    assert (found(predictions, claim).provider_id, found(predictions, claim).status) == ("p1", "succeeded")
    assert predictions.observed(SOURCE, ended("p2"), intent=prediction.id) is None


@pytest.mark.parametrize(
    ("status", "error", "cancelled", "kept"),
    [
        (PredictionStatus.FAILED, None, False, False),
        (PredictionStatus.CANCELED, None, True, False),
        (PredictionStatus.SUCCEEDED, NO_FILE, False, False),
        (PredictionStatus.SUCCEEDED, "its host answered 404", False, True),
        (PredictionStatus.SUCCEEDED, None, True, True),
        (PredictionStatus.PROCESSING, None, False, True),
        (PredictionStatus.PROCESSING, None, True, False),
    ],
)
def test_what_a_retry_asks_anew(
    store: Store,
    predictions: PredictionStore,
    status: PredictionStatus,
    error: str | None,
    cancelled: bool,
    kept: bool,
) -> None:
    claim = claimed(store)
    prediction = intended(predictions, claim)
    predictions.created(claim, prediction, "p1")
    predictions.observed(SOURCE, ended("p1", status))
    if error:
        predictions.note_download(claim, prediction, retries=0, error=error)
    if cancelled:
        store.claims.cancelled(claim)
    else:
        store.claims.fail(claim, ProviderError("no"))
    store.jobs.retry(claim.job_id, max_attempts=1)
    assert (predictions.of_job(claim.job_id) is not None) == kept
    running = status is PredictionStatus.PROCESSING
    assert bool(predictions.abandoned(SOURCE)) == (running and not kept), "what is superseded and runs is cancelled"


def test_strays(store: Store, predictions: PredictionStore) -> None:
    running, over, done = claimed(store), claimed(store), claimed(store)
    for number, claim in enumerate((running, over, done)):
        predictions.created(claim, intended(predictions, claim), f"p{number}")
    predictions.observed(SOURCE, ended("p2"))
    store.claims.cancelled(over)
    store.claims.cancelled(done)
    (stray,) = predictions.abandoned(SOURCE)
    assert stray.job_id == over.job_id
    predictions.lost(stray)
    assert predictions.abandoned(SOURCE) == []


@pytest.mark.parametrize("status", [PredictionStatus.PROCESSING, PredictionStatus.SUCCEEDED])
def test_what_was_lost_turns_up(store: Store, predictions: PredictionStore, status: PredictionStatus) -> None:
    claim = claimed(store)
    stray = intended(predictions, claim)
    store.claims.fail(claim, ProviderError("The provider cannot be reached."))
    predictions.lost(stray)
    predictions.observed(SOURCE, ended("p1", status), intent=stray.id)
    found_again = predictions.of_job(claim.job_id)
    if status is PredictionStatus.SUCCEEDED:
        assert found_again is not None, "a retry fetches it"
        assert found_again.outputs
    else:
        assert [one.provider_id for one in predictions.abandoned(SOURCE)] == ["p1"]


def test_each_new_try_of_a_download_is_counted_once(store: Store, predictions: PredictionStore) -> None:
    claim = claimed(store)
    prediction = intended(predictions, claim)
    for retries, error in ((0, None), (1, "cut"), (2, "cut"), (2, None)):
        predictions.note_download(claim, prediction, retries=retries, error=error)
    now = found(predictions, claim)
    assert (now.download_attempted, now.download_retries, now.download_error) == (True, 2, None)
    with store.database.read() as connection:
        assert totals(connection)[Counter("remote_download_retries", "demo", "replicate")] == 2


def test_they_go_with_their_job(store: Store, predictions: PredictionStore) -> None:
    claim = claimed(store)
    intended(predictions, claim)
    store.claims.cancelled(claim)
    assert RetentionStore(store.database).delete([], [claim.job_id], ended_before=-60).jobs == 1
    assert predictions.of_job(claim.job_id) is None
