"""How an attempt ends: published completely or not at all, failed, cancelled, released."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from app.core.job import JobStatus, Phase
from app.errors import Cancelled, LeaseLost, ModelUnavailable
from tests.store.harness import Store, an_output


def test_complete_publishes_outputs_and_status_together(store: Store) -> None:
    job = store.submit(num_images=2)
    claim = store.claim()
    published = [an_output(job.id, index) for index in range(2)]
    store.claims.complete(claim, published, timings={"generating": 4.0}, warnings=["made smaller"])
    done = store.jobs.get(job.id)
    assert (done.status, done.progress.phase, done.progress.percent) == (JobStatus.COMPLETED, Phase.DONE, 100)
    assert (done.timings, done.warnings, done.error_code) == ({"generating": 4.0}, ("made smaller",), None)
    assert done.completed_at is not None
    found = store.outputs.of_job(job.id)
    assert [output.index for output in found] == [0, 1]
    assert [output.owner for output in found] == ["alice", "alice"]
    as_published = [vars(output) | {"created_at": 0.0, "owner": ""} for output in found]
    assert as_published == [vars(output) for output in published]
    assert all(abs(output.created_at - store.now()) < 5 for output in found)


def test_warnings_are_added_to_those_of_the_request_without_repeating(store: Store) -> None:
    from tests.store.harness import a_request

    job, _ = store.jobs.enqueue(a_request(), client_id="alice", warnings=["one"])
    store.claims.complete(store.claim(), [an_output(job.id)], timings={}, warnings=["one", "two"])
    assert store.jobs.get(job.id).warnings == ("one", "two")


def test_a_complete_that_cannot_write_an_output_writes_nothing(store: Store) -> None:
    job = store.submit(num_images=2)
    claim = store.claim()
    with pytest.raises(IntegrityError):
        store.claims.complete(claim, [an_output(job.id, 0), an_output(job.id, 0)], timings={"generating": 1.0})
    assert store.jobs.get(job.id).status is JobStatus.PROCESSING
    assert store.output_count() == 0
    assert store.speeds.all() == {}
    store.complete(claim)


def test_a_job_cannot_be_completed_without_outputs_or_with_those_of_another(store: Store) -> None:
    job, other = store.submit(), store.submit()
    claim = store.claim()
    for published in ([], [an_output(other.id)]):
        with pytest.raises(ValueError, match="output"):
            store.claims.complete(claim, published, timings={})
    assert store.jobs.get(job.id).status is JobStatus.PROCESSING
    assert store.output_count() == 0


def test_complete_refuses_a_job_that_was_cancelled_first(store: Store) -> None:
    store.submit()
    claim = store.claim()
    store.jobs.cancel(claim.job_id)
    with pytest.raises(Cancelled):
        store.complete(claim)
    assert store.output_count() == 0
    store.claims.cancelled(claim)
    assert store.jobs.get(claim.job_id).status is JobStatus.CANCELLED


def test_complete_may_be_repeated_when_its_answer_was_lost(store: Store) -> None:
    """After a connection broke during the commit the worker does not know the result: it must be able to repeat it."""
    store.submit()
    claim = store.claim()
    output = an_output(claim.job_id)
    store.complete(claim, output, generating=2.0)
    before = store.row(claim.job_id)
    store.complete(claim, output, generating=2.0)
    assert store.row(claim.job_id) == before
    assert store.output_count() == 1
    with pytest.raises(LeaseLost):  # but not with other pictures: their files must go
        store.complete(claim, an_output(claim.job_id))


def test_a_final_failure(store: Store) -> None:
    store.submit()
    claim = store.claim()
    assert store.claims.fail(claim, ModelUnavailable("no such repo")) is JobStatus.FAILED
    job = store.jobs.get(claim.job_id)
    assert (job.status, job.error_code, job.error_message) == (JobStatus.FAILED, "model_unavailable", "no such repo")
    assert job.completed_at is not None
    assert job.worker_id is None


def test_a_passing_fault_is_tried_again_later_and_its_trace_goes_with_the_next_attempt(store: Store) -> None:
    store.submit()
    claim = store.claim()
    assert store.claims.fail(claim, ModelUnavailable("hub away"), retry_in=30) is JobStatus.PENDING
    job = store.jobs.get(claim.job_id)
    assert (job.status, job.error_code, job.completed_at) == (JobStatus.PENDING, "model_unavailable", None)
    assert job.available_at == pytest.approx(store.now() + 30, abs=5)
    assert store.claims.claim("w2") is None
    store.edit(job.id, available_at=None)
    store.complete(store.claim("w2"))
    assert store.jobs.get(job.id).error_code is None


def test_a_passing_fault_on_the_last_attempt_is_final(store: Store) -> None:
    """The store enforces the limit of attempts, whatever a worker requests."""
    job = store.submit()
    store.edit(job.id, max_attempts=1)
    assert store.claims.fail(store.claim(), ModelUnavailable(), retry_in=1) is JobStatus.FAILED
    job = store.jobs.get(job.id)
    assert job.status is JobStatus.FAILED
    assert job.completed_at is not None
    assert job.available_at is None


@pytest.mark.parametrize("retry_in", [None, 5.0])
def test_a_failure_of_a_cancelled_job_is_a_cancel(store: Store, retry_in: float | None) -> None:
    store.submit()
    claim = store.claim()
    store.jobs.cancel(claim.job_id)
    assert store.claims.fail(claim, ModelUnavailable("x"), retry_in=retry_in) is JobStatus.CANCELLED
    job = store.jobs.get(claim.job_id)
    assert (job.status, job.error_code, job.error_message) == (JobStatus.CANCELLED, None, None)
    assert job.completed_at is not None


def test_release_returns_the_job_without_counting_the_attempt(store: Store) -> None:
    job = store.submit()
    for attempt in range(1, 8):
        claim = store.claim(f"w{attempt}")
        assert claim.attempt == attempt
        store.claims.release(claim)
        released = store.jobs.get(job.id)
        assert (released.status, released.worker_id, released.error_code) == (JobStatus.PENDING, None, None)
        assert released.max_attempts - released.attempt == 3
    store.complete(store.claim())


def test_release_of_a_cancelled_job_is_a_cancel(store: Store) -> None:
    store.submit()
    claim = store.claim()
    store.jobs.cancel(claim.job_id)
    store.claims.release(claim)
    job = store.jobs.get(claim.job_id)
    assert job.status is JobStatus.CANCELLED
    assert job.completed_at is not None


def test_every_change_raises_the_revision(store: Store) -> None:
    job = store.submit()
    seen = [job.revision]

    def note() -> None:
        revision = store.jobs.revision(job.id)
        assert revision is not None
        seen.append(revision)

    claim = store.claim()
    note()
    store.lose(claim)
    note()
    store.claims.release(store.claim())
    note()
    store.claims.fail(store.claim(), ModelUnavailable())
    note()
    store.jobs.retry(job.id, max_attempts=1)
    note()
    store.jobs.cancel(job.id)
    note()
    assert seen == sorted(set(seen))
