"""Every failure ends its job with the right status; only transient ones are retried."""

from __future__ import annotations

import errno
import logging
import os
import threading

import pytest

from app.core.backoff import Backoff
from app.core.job import JobStatus
from app.errors import (
    Cancelled,
    DatabaseUnavailable,
    GenerationError,
    MediaFull,
    MediaUnavailable,
    ModelDownloadFailed,
    ModelRequiresAuth,
    ModelUnavailable,
)
from app.services.jobs.cancel import retry
from tests.waiting import wait_until
from tests.worker.fake_engine import FakeEngine, fails
from tests.worker.harness import Harness

pytestmark = pytest.mark.usefixtures("hurried")


@pytest.mark.parametrize(
    "error",
    [ModelUnavailable("The weights are damaged."), ModelRequiresAuth("Ask for access."), GenerationError("NaN.")],
)
def test_a_permanent_error_is_not_retried(harness: Harness, engine: FakeEngine, error: GenerationError) -> None:
    engine.behaviours["a boat"] = fails(error)
    harness.start(engine)
    job = harness.ended(harness.submit()).job
    assert (job.status, job.error_code, job.error_message) == (JobStatus.FAILED, error.code, error.detail)
    assert job.attempt == 1
    assert engine.ran == ["a boat"]


def test_a_transient_error_is_retried_after_a_pause(harness: Harness, engine: FakeEngine) -> None:
    engine.behaviours["a boat"] = fails(ModelDownloadFailed("The hub did not answer."), times=2)
    harness.start(engine)
    job = harness.completed(harness.submit()).job
    assert (job.attempt, job.error_code, job.error_message) == (3, None, None)
    assert engine.ran == ["a boat"] * 3


def test_other_jobs_run_while_a_retry_is_pending(harness: Harness, engine: FakeEngine, monkeypatch) -> None:
    monkeypatch.setattr("app.worker.finalizer.BACKOFF_SECONDS", 100.0)
    engine.behaviours["unlucky"] = fails(ModelDownloadFailed("The hub did not answer."))
    harness.start(engine)
    unlucky, lucky = harness.submit("unlucky"), harness.submit("lucky")
    harness.completed(lucky)
    job = harness.until(unlucky, lambda view: view.job.attempt == 1 and view.job.available_at is not None).job
    assert (job.status, job.error_code) == (JobStatus.PENDING, "model_unavailable")


def test_a_repeated_transient_error_uses_up_the_attempts(harness: Harness, engine: FakeEngine) -> None:
    engine.behaviours["a boat"] = fails(ModelDownloadFailed("The hub did not answer."))
    harness.start(engine)
    job_id = harness.submit()
    job = harness.ended(job_id).job
    assert (job.status, job.attempt, job.error_code) == (JobStatus.FAILED, 3, "model_unavailable")
    engine.behaviours.clear()
    retry(harness.context, job_id)
    assert harness.completed(job_id).job.attempt == 4


def test_backoff_doubles_and_never_overflows() -> None:
    from app.worker.finalizer import BACKOFF_SECONDS, _backoff

    assert 0.75 * BACKOFF_SECONDS <= _backoff(1) <= 1.25 * BACKOFF_SECONDS
    assert 4 * 0.75 * BACKOFF_SECONDS <= _backoff(3) <= 4 * 1.25 * BACKOFF_SECONDS
    assert _backoff(100_000) <= 1.25 * BACKOFF_SECONDS * 2**7


def test_an_unexpected_error_is_logged_and_hidden_from_the_client(
    harness: Harness, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.behaviours["a boat"] = fails(RuntimeError("secret path /home/somebody/x.safetensors"))
    with caplog.at_level(logging.ERROR, logger="cyberimage"):
        harness.start(engine)
        job = harness.ended(harness.submit()).job
    assert (job.status, job.error_code, job.attempt) == (JobStatus.FAILED, "generation_failed", 1)
    assert "secret" not in (job.error_message or "")
    assert "Traceback" not in (job.error_message or "")
    record = next(record for record in caplog.records if record.exc_info)
    assert getattr(record, "job_id", None) == job.id
    assert "fake_engine.py" in logging.Formatter().formatException(record.exc_info)
    harness.completed(harness.submit("another"))  # the worker goes on


@pytest.mark.parametrize("elsewhere", [{}, {"MODEL_OTHER": "other;a/b;Remote;replicate;false"}])
def test_jobs_of_a_model_that_is_no_longer_in_the_catalogue_wait(
    harness: Harness, engine: FakeEngine, elsewhere: dict[str, str]
) -> None:
    """Another worker may still have it."""
    job_id = harness.submit(model_id="other")
    harness.start(engine, harness.open(without=() if elsewhere else ("MODEL_OTHER",), **elsewhere))
    harness.completed(harness.submit("after it"))
    seen = harness.view(job_id)
    assert (seen.job.status, seen.waits_for) == (JobStatus.PENDING, "a worker that has the model other")
    harness.start(engine)
    harness.completed(job_id)


def test_a_full_disk_is_retried_and_leaves_no_partial_file(harness: Harness, engine: FakeEngine, monkeypatch) -> None:
    publish, refusals = harness.context.images.publish, [MediaFull("Full."), MediaUnavailable("Gone.")]

    def full_at_first(files):
        if refusals:
            raise refusals.pop()
        publish(files)

    monkeypatch.setattr(harness.context.images, "publish", full_at_first)
    harness.start(engine)
    seen = harness.completed(harness.submit())
    assert seen.job.attempt == 3
    assert len(harness.files()) == 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.ESTALE])
def test_jobs_wait_while_pictures_cannot_be_written(
    harness: Harness, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, hurried: None, number: int
) -> None:
    """However long: their attempts do not count, and none is claimed to fail again."""
    monkeypatch.setattr("app.worker.storage_pause.PAUSE", Backoff(0.05, 0.05))
    mended = threading.Event()

    def fsync(descriptor: int) -> None:
        if not mended.is_set():
            raise OSError(number, os.strerror(number))
        real_fsync(descriptor)

    real_fsync = os.fsync
    monkeypatch.setattr(os, "fsync", fsync)
    attempts: list[int] = []  # of all jobs, at each probe; the thread that probes is the one that claims
    problem = harness.context.images.problem

    def counting(max_age: float) -> str | None:
        attempts.append(sum(harness.view(job_id).job.attempt for job_id in job_ids))
        return problem(max_age)

    monkeypatch.setattr(harness.context.images, "problem", counting)
    job_ids = [harness.submit(f"boat {index}") for index in range(5)]
    harness.start(engine)
    wait_until(lambda: len(attempts) > 20, "the folders were not probed")
    wait_until(lambda: {harness.view(job_id).job.status for job_id in job_ids} == {JobStatus.PENDING}, "not all wait")
    states = [harness.view(job_id).job for job_id in job_ids]
    assert sum(job.attempt for job in states) == attempts[0], "jobs were claimed in a loop"
    assert any(os.strerror(number).lower() in (job.error_message or "") for job in states) or number == errno.ENOSPC
    mended.set()
    for job_id in job_ids:
        harness.completed(job_id)
    assert len(harness.files()) == 10


def test_a_job_may_be_cancelled_while_it_waits_for_the_disk(
    harness: Harness, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", fails(OSError(errno.EROFS, "")))
    job_id = harness.submit()
    harness.start(engine)
    harness.until(job_id, lambda seen: seen.job.error_code == "storage_unavailable")
    harness.context.jobs.cancel(job_id)
    assert harness.ended(job_id).job.status is JobStatus.CANCELLED


def test_an_engine_that_raises_cancelled_without_a_stop_fails_the_job(harness: Harness, engine: FakeEngine) -> None:
    engine.behaviours["a boat"] = fails(Cancelled())
    harness.start(engine)
    job = harness.ended(harness.submit()).job
    assert (job.status, job.error_code) == (JobStatus.FAILED, "generation_failed")


def test_an_unreachable_database_is_a_transient_error(harness: Harness, engine: FakeEngine) -> None:
    engine.behaviours["a boat"] = fails(DatabaseUnavailable("Away."), times=1)
    harness.start(engine)
    assert harness.completed(harness.submit()).job.attempt == 2
