"""Input pictures are inserted and deleted with their job, in the same transactions."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from app.core.inputs import InputPicture, InputRef
from app.core.job import JobStatus
from app.errors import IdempotencyConflict
from app.store.db.schema import inputs
from app.store.media.retention import RetentionStore
from app.store.queue.idempotency import IdempotencyKey
from tests.store.harness import Store, a_request

REF = InputRef(sha256="a" * 64, width=64, height=64, image_id=None)
PICTURES = [InputPicture("image", REF, b"\x89PNG image"), InputPicture("mask", REF, b"\x89PNG mask")]


def submit(store: Store, key: str | None = None, body: str = "b" * 64):
    request = a_request(task="inpaint", strength=0.5, image=REF, mask=REF)
    idempotency = None if key is None else IdempotencyKey(key, body)
    return store.jobs.enqueue(request, client_id="alice", pictures=PICTURES, idempotency=idempotency)


def kept(store: Store) -> int:
    with store.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(inputs))


def test_they_are_there_for_every_attempt(store: Store) -> None:
    job, _ = submit(store)
    assert job.request.task == "inpaint"
    assert job.progress.total_steps == 8  # half of 16
    for attempt in (1, 2):
        claim = store.claim()
        assert claim.attempt == attempt
        assert claim.request == job.request
        assert [(ref.role, ref.sha256) for ref in claim.request.pictures] == [
            ("image", REF.sha256),
            ("mask", REF.sha256),
        ]
        assert store.inputs.pngs(job.id) == {"image": b"\x89PNG image", "mask": b"\x89PNG mask"}
        store.lose(claim)


def test_they_go_with_the_job(store: Store) -> None:
    job, _ = submit(store)
    other, _ = submit(store)
    store.jobs.cancel(job.id)
    assert kept(store) == 4  # a cancelled job can be retried
    assert store.jobs.retry(job.id, max_attempts=1).status is JobStatus.PENDING
    store.jobs.cancel(job.id)
    RetentionStore(store.database).delete([], [job.id])
    assert store.inputs.pngs(job.id) == {}
    assert set(store.inputs.pngs(other.id)) == {"image", "mask"}


def test_what_is_not_accepted_leaves_none_behind(store: Store) -> None:
    job, _ = submit(store, "k")
    again, is_new = submit(store, "k")
    assert (again.id, is_new) == (job.id, False)
    with pytest.raises(IdempotencyConflict):
        submit(store, "k", "c" * 64)
    assert kept(store) == 2


def test_a_job_from_words_alone_has_none(store: Store) -> None:
    assert store.inputs.pngs(store.submit().id) == {}
