"""Retention finds what may be deleted, oldest first, and records removals; favourites and live jobs stay."""

from __future__ import annotations

import pytest
from sqlalchemy import func, insert, select, update

from app.errors import Gone, ImageNotFound, JobNotFound, OutOfMemory
from app.store.db.database import Database
from app.store.db.schema import idempotency_keys, jobs, outputs, periodic_tasks, removals
from app.store.db.vacuum import vacuum_and_analyze
from app.store.media.retention import PORTION, OldOutput, RetentionStore
from app.store.ops.periodic_tasks import PeriodicTaskStore
from tests.store.harness import Store, an_output

DAY = 86400.0


@pytest.fixture
def retention(store: Store) -> RetentionStore:
    return RetentionStore(store.database)


def done(store: Store, days_ago: float = 0.0, pictures: int = 1) -> tuple[str, list[str]]:
    """A job that ended `days_ago`. Returns its id and those of its pictures."""
    job = store.submit()
    made = [an_output(job.id, index) for index in range(pictures)]
    store.complete(store.claim(), *made)
    when = store.now() - days_ago * DAY
    store.edit(job.id, created_at=when - 60, completed_at=when)
    with store.database.write() as connection:
        connection.execute(update(outputs).where(outputs.c.job_id == job.id).values(created_at=when))
    return job.id, [output.id for output in made]


def ended(retention: RetentionStore, days: float) -> list[str]:
    return [job_id for portion in retention.ended_before(days * DAY) for job_id in portion]


def forget(retention: RetentionStore, job_ids: list[str], **how) -> tuple[int, int]:
    found = retention.delete(retention.outputs_of(job_ids), job_ids, **how)
    return len(found.outputs), found.jobs


def test_only_old_jobs_are_found_however_they_ended(store: Store, retention: RetentionStore) -> None:
    old = done(store, 10)[0]
    done(store, 1)
    failed, cancelled, waiting = store.submit(), store.submit(), store.submit()
    store.claims.fail(store.claim(), OutOfMemory())
    store.jobs.cancel(cancelled.id)
    for job in (failed, cancelled, waiting):
        store.edit(job.id, created_at=store.now() - 20 * DAY)
    for job in (failed, cancelled):
        store.edit(job.id, completed_at=store.now() - 20 * DAY)
    assert sorted(ended(retention, 7)) == sorted([old, failed.id, cancelled.id])
    assert ended(retention, 30) == []


def test_a_long_history_is_gone_through_in_portions(store: Store, retention: RetentionStore) -> None:
    job_id, _ = done(store, 10)
    row = {key: value for key, value in store.row(job_id)._mapping.items() if key != "seq"}
    with store.database.write() as connection:
        connection.execute(insert(jobs), [row | {"id": f"old{number}"} for number in range(2 * PORTION + 5)])
    portions = list(retention.ended_before(7 * DAY))
    assert len(portions) > 2
    assert sum(map(len, portions)) == 2 * PORTION + 6
    for portion in portions:
        retention.delete([], portion, ended_before=7 * DAY)
    assert ended(retention, 7) == [job_id]  # it has a picture


def test_deleted_jobs_and_pictures_raise_gone(store: Store, retention: RetentionStore) -> None:
    job_id, (first, second) = done(store, 10, pictures=2)
    assert forget(retention, [job_id]) == (2, 1)
    with pytest.raises(Gone):
        store.jobs.get(job_id)
    for output_id in (first, second):
        with pytest.raises(Gone):
            store.outputs.get(output_id)
    assert store.outputs.totals() == {"count": 0, "bytes": 0}
    assert sum(store.jobs.counts().values()) == 0
    assert forget(retention, [job_id]) == (0, 0)


def test_a_dry_run_reports_the_same_and_changes_nothing(store: Store, retention: RetentionStore) -> None:
    job_id, _ = done(store, 10, pictures=2)
    assert forget(retention, [job_id], dry_run=True) == (2, 1)
    assert store.output_count() == 2
    assert store.outputs.totals()["count"] == 2
    store.jobs.get(job_id)
    assert forget(retention, [job_id]) == (2, 1)


def test_a_favourite_stays_and_keeps_its_job(store: Store, retention: RetentionStore) -> None:
    job_id, (liked, other) = done(store, 10, pictures=2)
    store.outputs.mark(liked, favorite=True)
    assert forget(retention, [job_id]) == (1, 0)
    assert [output.id for output in store.outputs.of_job(job_id)] == [liked]
    assert store.outputs.get(liked).favorite
    with pytest.raises(Gone):
        store.outputs.get(other)
    store.outputs.mark(liked, favorite=False)
    assert forget(retention, [job_id]) == (1, 1)


def test_one_that_became_a_favourite_after_the_look_stays(store: Store, retention: RetentionStore) -> None:
    job_id, (output_id,) = done(store, 10)
    old = retention.outputs_of([job_id])
    store.outputs.mark(output_id, favorite=True)
    assert retention.delete(old, [job_id]).outputs == []
    store.outputs.get(output_id)


def test_a_job_that_was_put_back_in_line_after_the_look_stays(store: Store, retention: RetentionStore) -> None:
    job = store.submit()
    store.claims.fail(store.claim(), OutOfMemory())
    store.edit(job.id, created_at=store.now() - 10 * DAY, completed_at=store.now() - 10 * DAY)
    (portion,) = retention.ended_before(7 * DAY)
    store.jobs.retry(job.id, max_attempts=1)
    assert retention.delete([], portion, ended_before=7 * DAY).jobs == 0
    store.claims.fail(store.claim(), OutOfMemory())  # ended again, but just now
    assert retention.delete([], portion, ended_before=7 * DAY).jobs == 0
    store.jobs.get(job.id)


def test_the_oldest_pictures_come_first_and_favourites_not_at_all(store: Store, retention: RetentionStore) -> None:
    ids = [done(store, days)[1][0] for days in (3, 9, 1, 5)]
    store.outputs.mark(ids[3], favorite=True)
    assert [old.id for portion in retention.oldest_outputs() for old in portion] == [ids[1], ids[0], ids[2]]


def test_favourites_that_are_not_there(store: Store, retention: RetentionStore) -> None:
    with pytest.raises(ImageNotFound):
        store.outputs.mark("0" * 32, favorite=True)
    job_id, (output_id,) = done(store, 1)
    forget(retention, [job_id])
    with pytest.raises(Gone):
        store.outputs.mark(output_id, favorite=True)


def test_keys_and_traces_are_forgotten_by_age(store: Store, retention: RetentionStore) -> None:
    store.submit_with_key("old")
    store.submit_with_key("new")
    with store.database.write() as connection:
        old = idempotency_keys.c.key == "old"
        connection.execute(update(idempotency_keys).where(old).values(created_at=store.now() - 31 * DAY))
        connection.execute(insert(removals).values(id="f" * 32, kind="job", removed_at=store.now() - 400 * DAY))
    assert retention.count_keys(30 * DAY) == 1
    assert retention.delete_keys(30 * DAY) == 1
    assert store.submit_with_key("new")[1] is False
    assert store.submit_with_key("old")[1] is True
    with pytest.raises(Gone):
        store.jobs.get("f" * 32)
    assert retention.delete_removals(365 * DAY) == 1
    with pytest.raises(JobNotFound):
        store.jobs.get("f" * 32)


def test_a_chore_is_taken_by_one_and_comes_back(database: Database) -> None:
    one, other = PeriodicTaskStore(database), PeriodicTaskStore(database)
    assert one.take("sweep", every=100)
    assert not other.take("sweep", every=100)
    assert other.take("something else", every=100)
    with database.write() as connection:
        connection.execute(update(periodic_tasks).values(due_at=periodic_tasks.c.due_at - 101))
    assert [each.take("sweep", every=100) for each in (other, one)] == [True, False]


def test_a_clock_set_back_does_not_put_chores_off_for_ever(database: Database) -> None:
    store = PeriodicTaskStore(database)
    store.take("sweep", every=100)
    with database.write() as connection:
        connection.execute(update(periodic_tasks).values(due_at=periodic_tasks.c.due_at + 10_000))
    assert store.take("sweep", every=100)


def test_the_database_is_looked_after_and_works_on(store: Store) -> None:
    done(store)
    vacuum_and_analyze(store.database)
    done(store)
    assert store.output_count() == 2


def test_the_space_of_what_was_removed_is_given_back(store: Store, sqlite_database: Database) -> None:
    store = Store(sqlite_database)
    many = [{"id": f"{number:032x}", "kind": "x" * 8, "removed_at": 0.0} for number in range(60_000)]
    with store.database.write() as connection:
        connection.execute(insert(removals), many)
    before = _pages(store.database)
    RetentionStore(store.database).delete_removals(0)
    vacuum_and_analyze(store.database)
    assert _pages(store.database) < before / 2
    with store.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(removals)) == 0


def _pages(database: Database) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())


def test_an_old_picture_knows_its_files(store: Store, retention: RetentionStore) -> None:
    job_id, _ = done(store, 1)
    (old,) = retention.outputs_of([job_id])
    assert isinstance(old, OldOutput)
    assert old.path.endswith(".png")
    assert old.thumbnail_path.endswith(".thumbnail.webp")
