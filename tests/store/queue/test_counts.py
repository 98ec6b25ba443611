"""The counts are always exact, although no query reads history."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import delete, func, select, text

from app.core.job import JobStatus
from app.errors import ModelUnavailable
from app.store.db.schema import jobs, outputs
from tests.store.harness import Store, an_output


def counted(store: Store) -> dict[JobStatus, int]:
    with store.database.read() as connection:
        rows = connection.execute(select(jobs.c.status, func.count()).group_by(jobs.c.status))
        found = {row[0]: row[1] for row in rows}
    return {status: found.get(status.value, 0) for status in JobStatus}


def check(store: Store) -> None:
    assert store.jobs.counts() == counted(store)
    assert store.jobs.count_pending() == counted(store)[JobStatus.PENDING]
    with store.database.read() as connection:
        total = connection.execute(select(func.count(), func.coalesce(func.sum(outputs.c.bytes), 0))).one()
    assert store.outputs.totals() == {"count": total[0], "bytes": int(total[1])}


def test_nothing_counts_nothing(store: Store) -> None:
    assert store.jobs.counts() == dict.fromkeys(JobStatus, 0)
    assert store.outputs.totals() == {"count": 0, "bytes": 0}


def test_every_way_a_job_can_go_is_counted(store: Store) -> None:
    for _ in range(8):
        store.submit()
    check(store)
    store.complete(store.claim())
    store.claims.fail(store.claim(), ModelUnavailable())
    store.claims.fail(store.claim(), ModelUnavailable(), retry_in=1)
    claim = store.claim()
    store.jobs.cancel(claim.job_id)
    check(store)
    store.claims.cancelled(claim)
    store.claims.release(store.claim())
    store.lose(store.claim())
    check(store)
    poison = store.claim()
    store.edit(poison.job_id, max_attempts=1)
    store.lose(poison)
    check(store)
    (failed, *_) = store.jobs.newest([JobStatus.FAILED], limit=1)
    store.jobs.retry(failed.id, max_attempts=1)
    store.jobs.cancel(failed.id)
    check(store)
    assert sum(store.jobs.counts().values()) == 8


def test_what_is_removed_is_no_longer_counted(store: Store) -> None:
    published = []
    for number in range(4):
        job = store.submit()
        published.append(an_output(job.id, bytes=100 + number))
        store.complete(store.claim(), published[-1])
    store.outputs.remove(published[0].id)
    check(store)
    assert store.outputs.totals() == {"count": 3, "bytes": 306}
    with store.database.write() as connection:  # as retention would: the outputs go with their job
        connection.execute(delete(jobs).where(jobs.c.id == published[1].job_id))
    check(store)
    assert store.output_count() == 2


def test_a_rollback_counts_nothing(store: Store) -> None:
    job = store.submit()
    try:
        with store.database.write() as connection:
            connection.execute(text("UPDATE jobs SET status = 'CANCELLED' WHERE id = :id"), {"id": job.id})
            raise RuntimeError
    except RuntimeError:
        pass
    check(store)


def test_many_at_once_are_all_counted(store: Store) -> None:
    def live(number: int) -> None:
        for _ in range(10):
            store.submit(client=f"c{number}")
            claim = store.claims.claim(f"w{number}")
            if claim is not None:
                store.complete(claim)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(live, range(6)))
    check(store)


def test_the_revisions_of_many_jobs_at_once(store: Store) -> None:
    ids = [store.submit().id for _ in range(3)]
    before = store.jobs.revisions([*ids, "0" * 32])
    assert set(before) == set(ids)
    store.claim()
    after = store.jobs.revisions(ids)
    assert {job_id for job_id in ids if after[job_id] > before[job_id]} == {ids[0]}
    assert store.jobs.revisions([]) == {}
    assert set(store.jobs.revisions([f"{n:032x}" for n in range(1200)] + ids)) == set(ids)
