"""Owners of jobs, pictures and messages: the client that requested them, also after their removal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text

from app.core.job import JobStatus
from app.store.db.database import Database
from app.store.db.migrate import migrate
from app.store.media.filters import GalleryQuery
from app.store.media.owners import OwnerStore
from app.store.media.retention import RetentionStore
from app.store.ops.webhooks import WebhookStore
from tests.store.harness import Store, a_request, an_output


@pytest.fixture
def owners(store: Store) -> OwnerStore:
    return OwnerStore(store.database)


def make(store: Store, client: str) -> str:
    """A job of `client` with a picture. Returns the picture's id."""
    output = an_output(store.submit(client=client).id)
    store.complete(store.claim(), output)
    return output.id


def test_a_picture_belongs_to_the_client_that_requested_it(store: Store, owners: OwnerStore) -> None:
    hers, his = make(store, "key:1"), make(store, "hf:bob")
    assert (owners.of_output(hers), owners.of_output(his)) == ("key:1", "hf:bob")
    assert owners.of_job(store.outputs.get(hers).job_id) == "key:1"
    assert store.outputs.get(his).owner == "hf:bob"
    assert owners.of_job("0" * 32) is owners.of_output("0" * 32) is owners.of_delivery("0" * 32) is None


def test_lists_are_narrowed_to_an_owner(store: Store) -> None:
    hers, _his = make(store, "key:1"), make(store, "key:2")
    assert [output.id for output in store.outputs.page(GalleryQuery(owner="key:1"))] == [hers]
    assert store.outputs.page(GalleryQuery(owner="key:1", model_id="other")) == []
    waiting = [store.submit(client=client).id for client in ("key:1", "key:2", "key:1")]
    assert [job.id for job in store.jobs.waiting(client_id="key:1")] == [waiting[0], waiting[2]]
    for job_id in waiting[1:]:
        store.jobs.cancel(job_id)
    cancelled = store.jobs.newest([JobStatus.CANCELLED], limit=9, client_id="key:1")
    assert [job.id for job in cancelled] == [waiting[2]]
    assert [job.id for job in store.jobs.newest([JobStatus.PENDING], limit=9, client_id="key:1")] == [waiting[0]]
    claimed = store.claim()
    assert [job.id for job in store.jobs.newest([JobStatus.PROCESSING], limit=9, client_id="key:1")] == [claimed.job_id]
    assert store.jobs.newest([JobStatus.PROCESSING], limit=9, client_id="key:2") == []


def test_what_was_removed_keeps_its_owner(store: Store, owners: OwnerStore) -> None:
    by_hand, by_age = make(store, "key:1"), make(store, "key:2")
    store.outputs.remove(by_hand)
    job_id = store.outputs.get(by_age).job_id
    retention = RetentionStore(store.database)
    retention.delete(retention.outputs_of([job_id]), [job_id], ended_before=-60)
    assert owners.of_output(by_hand) == "key:1"
    assert owners.of_output(by_age) == owners.of_job(job_id) == "key:2"


def test_a_message_belongs_to_the_owner_of_its_job(store: Store, owners: OwnerStore) -> None:
    job, _ = store.jobs.enqueue(a_request(), client_id="key:1", webhook_url="https://8.8.8.8/")
    other, _ = store.jobs.enqueue(a_request(), client_id="key:2", webhook_url="https://8.8.8.8/")
    for one in (job, other):
        store.jobs.cancel(one.id)
    (mine,) = WebhookStore(store.database).page(owner="key:1")
    assert mine.job_id == job.id
    assert owners.of_delivery(mine.id) == "key:1"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    sqlite = request.param == "sqlite"
    database = Database(f"sqlite:///{tmp_path}/old.db" if sqlite else request.getfixturevalue("postgres_url"))
    yield database
    database.close()


def test_an_upgrade_sets_the_owner_of_pictures_to_that_of_their_job(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = command.upgrade
    monkeypatch.setattr(command, "upgrade", lambda config, _to: upgrade(config, "0007"))
    migrate(empty_database)
    monkeypatch.undo()
    with empty_database.write() as connection:
        connection.execute(text(OLD_JOB))
        connection.execute(text(OLD_OUTPUT))
    migrate(empty_database)
    assert OwnerStore(empty_database).of_output("o1") == "ip:127.0.0.1"


OLD_JOB = """INSERT INTO jobs (id, client_id, status, priority, turn, model_id, prompt, settings, warnings, created_at,
    attempt, max_attempts, cancel_requested, phase, step, total_steps, revision, timings)
    VALUES ('j1', 'ip:127.0.0.1', 'COMPLETED', 0, 1, 'demo', 'x', '{}', '[]', 1.0,
    1, 3, false, 'done', 1, 1, 1, '{}')"""
OLD_OUTPUT = """INSERT INTO outputs (id, job_id, "index", media, model_id, path, thumbnail_path, mime_type, width,
    height, bytes, sha256, seed, created_at, manifest)
    VALUES ('o1', 'j1', 0, 'image', 'demo', 'p', 't', 'image/png', 1, 1, 1, 'x', 1, 1.0, '{}')"""
