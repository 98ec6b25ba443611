"""Accepted means durable; an Idempotency-Key creates one job however often and concurrently it is sent."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from app.core.job import JobStatus, Phase
from app.errors import Gone, IdempotencyConflict, JobNotFound
from app.services.job_body import webhook_message
from app.store.db.database import Database
from app.store.queue.idempotency import FirstAnswer, IdempotencyKey
from app.store.queue.jobs import JobStore
from tests.store.harness import Store, a_request


def test_a_new_job_is_as_it_was_asked_for(store: Store) -> None:
    request = a_request("flux-dev", prompt="ein Boot 船 🛶", negative_prompt="fog", num_images=3, guidance_scale=3.5)
    job, is_new = store.jobs.enqueue(request, client_id="alice", priority=4, max_attempts=2, warnings=["careful"])
    assert is_new
    assert store.jobs.get(job.id) == job
    assert job.request == request
    assert (job.status, job.attempt, job.max_attempts, job.priority) == (JobStatus.PENDING, 0, 2, 4)
    assert (job.warnings, job.revision, job.cancel_requested) == (("careful",), 1, False)
    assert (job.progress.phase, job.progress.step, job.progress.total_steps) == (Phase.STARTING, 0, 16)
    assert abs(job.created_at - store.now()) < 5


def test_an_accepted_job_is_seen_by_another_connection_at_once(store: Store) -> None:
    job = store.submit()
    # hide_password: str(url) would put *** in its place
    elsewhere = Database(store.database.url.render_as_string(hide_password=False))
    try:
        assert JobStore(elsewhere, render_webhook=webhook_message).get(job.id) == job
    finally:
        elsewhere.close()


@pytest.mark.parametrize(("durable", "sqlite_level", "postgres_level"), [(True, 2, "on"), (False, 1, "off")])
def test_a_promise_is_synced_to_the_disk_and_a_progress_note_is_not(
    database: Database, durable: bool, sqlite_level: int, postgres_level: str
) -> None:
    with database.write(durable=durable) as connection:
        if database.is_sqlite:
            assert connection.scalar(text("PRAGMA synchronous")) == sqlite_level
        else:
            assert connection.scalar(text("SHOW synchronous_commit")) == postgres_level


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    with contextlib.suppress(RuntimeError), store.database.write() as connection:
        connection.execute(text("INSERT INTO removals (id, kind, removed_at) VALUES ('x', 'job', 1)"))
        raise RuntimeError
    with pytest.raises(JobNotFound):
        store.jobs.get("x")


def test_an_unknown_job_and_a_removed_one_raise_different_errors(store: Store) -> None:
    with pytest.raises(JobNotFound):
        store.jobs.get("nothing")
    assert store.jobs.revision("nothing") is None
    with store.database.write() as connection:
        connection.execute(text("INSERT INTO removals (id, kind, removed_at) VALUES ('gone', 'job', 1)"))
    with pytest.raises(Gone):
        store.jobs.get("gone")


def test_the_same_key_and_body_give_the_same_job_even_after_it_has_ended(store: Store) -> None:
    first, is_new = store.submit_with_key("k")
    assert is_new
    store.complete(store.claim())
    again, is_new = store.submit_with_key("k")
    assert not is_new
    assert again.id == first.id
    assert again.status is JobStatus.COMPLETED


def test_the_same_key_with_another_body_is_refused_and_stores_nothing(store: Store) -> None:
    store.submit_with_key("k", "a" * 64)
    with pytest.raises(IdempotencyConflict):
        store.submit_with_key("k", "b" * 64)
    assert store.jobs.count_pending() == 1


def test_keys_are_unique_per_client_only(store: Store) -> None:
    assert store.submit_with_key("k", "a" * 64, "alice")[0].id != store.submit_with_key("k", "b" * 64, "bob")[0].id


def test_a_key_can_be_looked_up_without_enqueueing(store: Store) -> None:
    job, _ = store.submit_with_key("k", "a" * 64)
    assert store.jobs.first_answer("alice", IdempotencyKey("other", "a" * 64)) is None
    assert store.jobs.first_answer("alice", IdempotencyKey("k", "a" * 64)) == FirstAnswer(job.id, 1, ())
    assert store.jobs.first_answer("bob", IdempotencyKey("k", "a" * 64)) is None
    with pytest.raises(IdempotencyConflict):
        store.jobs.first_answer("alice", IdempotencyKey("k", "b" * 64))


def test_the_first_answer_stays_what_it_was(store: Store) -> None:
    store.submit()
    job, _ = store.submit_with_key("k", "a" * 64)
    for _ in range(2):
        store.complete(store.claim())
    assert store.jobs.position(job) == 1
    assert store.jobs.first_answer("alice", IdempotencyKey("k", "a" * 64)) == FirstAnswer(job.id, 2, ())


def test_one_key_sent_by_many_at_once_makes_one_job(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: store.submit_with_key(f"k{number % 4}"), range(32)))
    assert store.jobs.count_pending() == 4
    assert len({job.id for job, _ in answers}) == 4
    assert sum(is_new for _, is_new in answers) == 4


def test_the_newest_key_of_a_client_by_its_beginning(store: Store) -> None:
    def enqueue(key: str, client_id: str = "alice") -> str:
        job, _ = store.jobs.enqueue(a_request(), client_id=client_id, idempotency=IdempotencyKey(key, "0"))
        return job.id

    enqueue("try:a:1")
    newest = enqueue("try:a:2")
    enqueue("try:b:1")
    enqueue("try:a:3", client_id="bob")
    assert store.jobs.newest_key("alice", "try:a:", within_seconds=60) == ("try:a:2", newest)
    assert store.jobs.newest_key("alice", "try:%", within_seconds=60) is None  # a beginning, no pattern
    assert store.jobs.newest_key("carol", "try:a:", within_seconds=60) is None
    assert store.jobs.newest_key("alice", "try:a:", within_seconds=-1) is None
