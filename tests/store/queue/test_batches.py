"""Batches: accepted as a whole, counted without reading jobs, fair to others, stopped and continued."""

from __future__ import annotations

import json
import random
import threading
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from app.core.batches.batch import Batch, BatchStatus, NewBatch, NewJob, coordinates
from app.core.inputs import InputPicture, InputRef
from app.core.job import JobStatus
from app.core.prediction import PredictionStatus, Report
from app.core.spending import Charge
from app.errors import (
    BatchNotFound,
    Conflict,
    Gone,
    IdempotencyConflict,
    InvalidRequest,
    OutOfMemory,
    QueueFull,
    SpendLimit,
)
from app.store.db.database import Database
from app.store.db.schema import batches, jobs, webhook_deliveries
from app.store.media.retention import RetentionStore
from app.store.queue.batch_changes import Submitter
from app.store.queue.predictions import PredictionStore
from tests.store.harness import Store, a_request


def counts(store: Store, batch_id: str) -> dict[str, int]:
    """Without zeros; and as counting the jobs themselves would have it."""
    tallied = {status.value: number for status, number in store.batches.get(batch_id).counts.items() if number}
    with store.database.read() as connection:
        query = select(jobs.c.status, func.count()).where(jobs.c.batch_id == batch_id).group_by(jobs.c.status)
        assert tallied == {row[0]: row[1] for row in connection.execute(query)}
    return tallied


def order(store: Store, number: int = 100) -> list[tuple[str, str]]:
    """(client, model) of the jobs as a worker claims them."""
    found = []
    while len(found) < number and (claim := store.claims.claim("w1")) is not None:
        job = store.jobs.get(claim.job_id)
        found.append((job.client_id, job.request.model_id))
        store.complete(claim)
    return found


def age(store: Store, batch_id: str, **values: Any) -> None:
    with store.database.write() as connection:
        connection.execute(update(batches).where(batches.c.id == batch_id).values(**values))


def test_a_batch_is_counted_through_its_life(store: Store) -> None:
    batch_id = store.submit_batch("demo", "demo", "demo", "demo")
    assert counts(store, batch_id) == {"PENDING": 4}
    store.complete(store.claim())
    store.claims.fail(store.claim(), OutOfMemory())
    running = store.claim()
    assert counts(store, batch_id) == {"COMPLETED": 1, "FAILED": 1, "PROCESSING": 1, "PENDING": 1}
    batch = store.batches.get(batch_id)
    assert (batch.status, batch.ended, batch.percent) == (BatchStatus.RUNNING, 2, 50)
    store.claims.release(running)
    assert store.batch_changes.cancel(batch_id) == 2
    assert counts(store, batch_id) == {"COMPLETED": 1, "FAILED": 1, "CANCELLED": 2}
    assert store.batches.get(batch_id).status is BatchStatus.ENDED


def test_places_have_their_jobs_and_pictures(store: Store) -> None:
    batch_id = store.submit_batch("demo", "other", "demo")
    store.complete(store.claim())
    places = store.batches.places(batch_id)
    assert [(each.place, each.request.model_id, each.status.value, len(each.images)) for each in places] == [
        (0, "demo", "COMPLETED", 1),
        (1, "other", "PENDING", 0),
        (2, "demo", "PENDING", 0),
    ]
    assert [each.place for each in store.batches.places(batch_id, offset=1, limit=1)] == [1]
    assert [each.place for each in store.batches.at(batch_id, [2, 0, 9])] == [0, 2]
    axes = store.batches.get(batch_id).axes
    assert [coordinates(place, axes) for place in (0, 2, 3)] == [[0], [2], None]


def test_a_job_of_a_batch_is_stored_as_one_alone(store: Store) -> None:
    request = a_request(negative_prompt="fog", num_images=2, scheduler="euler", prompt='a "red" föx')
    alone = store.jobs.enqueue(request, client_id="alice", warnings=["a note"])[0]
    new = [NewJob(0, request, warnings=["a note"])]
    batch_id, _ = store.batch_changes.enqueue(NewBatch([], {}), new, Submitter("alice", 3))
    own = store.jobs.get(store.batches.places(batch_id)[0].job_id)
    assert (own.request, own.warnings, own.timings) == (alone.request, alone.warnings, alone.timings)
    assert (own.max_attempts, own.progress.total_steps, own.lane) == (3, alone.progress.total_steps, "local")
    columns = ("settings", "warnings", "timings")
    rows = [store.row(each) for each in (own.id, alone.id)]
    assert [rows[0]._mapping[name] for name in columns] == [rows[1]._mapping[name] for name in columns]


def test_all_or_nothing(store: Store) -> None:
    """The last job breaks a rule of the database."""
    new = [NewJob(place, a_request()) for place in range(5)]
    png = InputPicture("image", InputRef(sha256="0" * 64, width=1, height=1), b"")
    new[4] = NewJob(4, a_request(), pictures=[png, png])
    with pytest.raises(Exception, match=r"(?i)unique"):
        store.batch_changes.enqueue(NewBatch([], {}), new, Submitter("alice", 3))
    assert store.jobs.count_pending() == 0
    assert store.batches.page(None, limit=9) == []


def test_the_same_key_is_the_same_batch(store: Store) -> None:
    first = store.submit_batch("demo", "demo", key="k")
    assert store.submit_batch("demo", "demo", key="k") == first
    assert store.jobs.count_pending() == 2
    with pytest.raises(IdempotencyConflict):
        store.submit_with_key("k", "c" * 64)


def test_a_limit_of_spending_counts_all_jobs(store: Store) -> None:
    charge = Charge(2.0, most_amount=5.0)
    with pytest.raises(SpendLimit):
        store.submit_batch("demo", "demo", "demo", charge=charge)
    assert store.jobs.count_pending() == 0
    batch_id = store.submit_batch("demo", "demo", charge=charge)
    assert store.batches.get(batch_id).spent == 4.0


def test_a_large_batch_delays_anothers_job_by_one_job(store: Store) -> None:
    store.submit_batch(*["demo"] * 30)
    assert order(store, 3) == [("alice", "demo")] * 3
    store.submit(client="bob")
    assert ("bob", "demo") in order(store, 2)
    store.submit_batch(*["demo"] * 5, client="carol")
    store.submit(client="dave")
    assert [client for client, _ in order(store, 7)].count("alice") >= 3


def test_the_jobs_of_one_model_follow_each_other(store: Store) -> None:
    batch_id = store.submit_batch("one", "two", "one", "two", "one")
    assert [model for _, model in order(store)] == ["one", "one", "one", "two", "two"]
    assert [each.request.model_id for each in store.batches.places(batch_id)] == ["one", "two", "one", "two", "one"]


def test_a_paused_batch_waits_and_costs_claims_nothing(store: Store) -> None:
    batch_id = store.submit_batch("demo", "demo", "demo")
    claim = store.claim()
    store.batch_changes.pause(batch_id)
    assert store.batches.get(batch_id).status is BatchStatus.PAUSED
    assert store.claims.claim("w2") is None
    store.claims.fail(claim, OutOfMemory(), retry_in=0)  # it returns to where the others wait
    store.edit(claim.job_id, available_at=None)
    assert store.claims.claim("w2") is None
    waiting = store.jobs.get(claim.job_id)
    assert (waiting.lane, waiting.paused, store.jobs.position(waiting)) == ("local", True, None)
    assert store.jobs.counts_by_lane() == {}
    for _ in range(2):
        store.submit(client="bob")
    for _ in range(2):
        store.batch_changes.resume(batch_id)
    # Old as it is, it was put at the end, and shares the turns with those that came meanwhile.
    assert [client for client, _ in order(store)] == ["alice", "bob", "alice", "bob", "alice"]


def test_jobs_added_to_a_paused_batch_wait_too(store: Store) -> None:
    batch_id = store.submit_batch("demo")
    store.batch_changes.pause(batch_id)
    assert store.batch_changes.add(store.batches.get(batch_id), [NewJob(0, a_request())], Submitter("alice", 3))[0] == 2
    assert store.claims.claim("w") is None
    store.batch_changes.resume(batch_id)
    assert len(order(store)) == 2


def test_more_jobs_get_the_places_after_the_last(store: Store) -> None:
    batch_id = store.submit_batch("demo", "demo")
    batch = store.batches.get(batch_id)
    new = [NewJob(place, a_request("more")) for place in range(2)]
    assert store.batch_changes.add(batch, new, Submitter("alice", 3)) == (4, True)
    assert [each.request.model_id for each in store.batches.places(batch_id)] == ["demo", "demo", "more", "more"]
    assert counts(store, batch_id) == {"PENDING": 4}
    store.batch_changes.cancel(batch_id)
    with pytest.raises(Conflict):
        store.batch_changes.add(batch, new, Submitter("alice", 3))


def test_a_higher_priority_is_served_first(store: Store) -> None:
    store.submit(client="bob")
    batch_id = store.submit_batch("demo", "demo")
    store.batch_changes.prioritise(batch_id, 3)
    assert [client for client, _ in order(store)] == ["alice", "alice", "bob"]
    assert store.batches.get(batch_id).priority == 3


def test_a_running_job_is_asked_to_stop(store: Store) -> None:
    batch_id = store.submit_batch("demo", "demo")
    claim = store.claim()
    store.batch_changes.cancel(batch_id)
    assert store.claims.check(claim).cancel_requested
    assert store.batches.get(batch_id).stopped == "cancelled"
    assert store.batch_changes.cancel(batch_id) == 0


def test_failed_jobs_are_retried_and_the_batch_is_open_again(store: Store) -> None:
    batch_id = store.submit_batch(*["demo"] * 5)
    for _ in range(3):
        store.claims.fail(store.claim(), OutOfMemory())
    store.complete(store.claim())
    store.batch_changes.cancel(batch_id)
    store.batch_progress.note(store.batches.get(batch_id), render)
    assert store.batches.open() == []
    failed = [each for portion in store.batch_changes.unsuccessful(batch_id, cancelled=False) for each in portion]
    both = [each for portion in store.batch_changes.unsuccessful(batch_id, cancelled=True) for each in portion]
    assert (len(failed), len(both)) == (3, 4)
    assert store.jobs.retry_many(dict.fromkeys(both), max_attempts=3) == both
    assert store.jobs.retry_many(dict.fromkeys(both), max_attempts=3) == []
    assert counts(store, batch_id) == {"COMPLETED": 1, "PENDING": 4}
    assert [each.id for each in store.batches.open()] == [batch_id]
    assert store.batches.get(batch_id).stopped is None


def render(batch: Batch, event: str) -> str:
    return json.dumps([event, batch.percent])


def messages(store: Store) -> list[Any]:
    with store.database.read() as connection:
        query = select(webhook_deliveries.c.payload).order_by(webhook_deliveries.c.seq)
        return [json.loads(text) for text in connection.scalars(query)]


def test_progress_is_told_once_a_percent_and_at_the_end(store: Store) -> None:
    batch_id = store.submit_batch(*["demo"] * 3, webhook_url="https://example.com/hook")
    batch = store.batches.get(batch_id)
    assert not store.batch_progress.note(batch, render)
    store.complete(store.claim())
    batch = store.batches.get(batch_id)
    assert [store.batch_progress.note(batch, render) for _ in range(2)] == [True, False]
    order(store)
    seen = [store.batches.get(batch_id) for _ in range(2)]
    assert [store.batch_progress.note(each, render) for each in seen] == [True, False]
    assert messages(store) == [["batch.progress", 33], ["batch.ended", 100]]
    assert store.batches.get(batch_id).ended_at is not None


def test_one_that_stands_still_gets_older(store: Store) -> None:
    batch_id = store.submit_batch("demo")
    age(store, batch_id, progressed_at=store.now() - 500)
    assert store.batch_progress.ages()[:2] == (1, 0)
    assert store.batch_progress.ages()[2] >= 500
    store.batch_changes.pause(batch_id)
    assert store.batch_progress.ages() == (0, 1, 0.0)


def test_a_deadline_is_seen_once(store: Store) -> None:
    batch_id = store.submit_batch("demo", max_seconds=60.0)
    store.submit_batch("demo")
    assert store.batch_progress.past_deadline() == []
    age(store, batch_id, created_at=store.now() - 61)
    assert store.batch_progress.past_deadline() == [batch_id]
    store.batch_changes.cancel(batch_id, "deadline")
    assert store.batch_progress.past_deadline() == []


def test_retention_treats_a_batch_as_one(store: Store) -> None:
    retention, batch_id = RetentionStore(store.database), store.submit_batch("demo", "demo")
    store.complete(store.claim())
    with store.database.write() as connection:
        long_ago = store.now() - 1000
        connection.execute(update(jobs).values(created_at=long_ago, completed_at=long_ago))
    assert list(retention.ended_before(500)) == []
    order(store)
    with store.database.write() as connection:
        connection.execute(update(jobs).values(completed_at=long_ago))
    store.batch_progress.note(store.batches.get(batch_id), render)
    assert list(retention.ended_before(500)) == []  # the batch has ended just now
    age(store, batch_id, ended_at=long_ago)
    (old,) = retention.ended_before(500)
    assert len(old) == 2
    assert retention.delete_batches(500) == 0
    retention.delete(retention.outputs_of(old), old)
    assert retention.delete_batches(500) == 1
    with pytest.raises(Gone):
        store.batches.get(batch_id)
    with pytest.raises(BatchNotFound):
        store.batches.get("0" * 32)


def test_batches_are_listed_newest_first_by_owner(store: Store) -> None:
    mine = [store.submit_batch("demo") for _ in range(3)]
    other = store.submit_batch("demo", client="bob")
    assert [each.id for each in store.batches.page("alice", limit=2)] == sorted(mine, reverse=True)[:2]
    assert [each.id for each in store.batches.page("alice", limit=2, before=sorted(mine)[1])] == sorted(mine)[:1]
    assert {each.id for each in store.batches.page(None, limit=9)} == {*mine, other}


WHAT = ["complete", "fail", "release", "retry", "pause", "resume", "add"]


def test_the_tallies_stay_exact_whatever_happens(store: Store) -> None:
    chance = random.Random(5)
    ids = [store.submit_batch(*["demo"] * 6) for _ in range(2)]
    for _ in range(60):
        what, batch_id = (
            chance.choice(["complete", "fail", "release", "retry", "pause", "resume", "add"]),
            chance.choice(ids),
        )
        claim = store.claims.claim("w") if what in ("complete", "fail", "release") else None
        if claim is not None and what == "complete":
            store.complete(claim)
        elif claim is not None:
            store.claims.fail(claim, OutOfMemory()) if what == "fail" else store.claims.release(claim)
        elif what == "retry":
            for portion in store.batch_changes.unsuccessful(batch_id, cancelled=True):
                store.jobs.retry_many(dict.fromkeys(portion), max_attempts=3)
        elif what == "add":
            store.batch_changes.add(store.batches.get(batch_id), [NewJob(0, a_request())], Submitter("alice", 3))
        elif what in ("pause", "resume"):
            getattr(store.batch_changes, what)(batch_id)
        assert sum(counts(store, batch_id).values()) == store.batches.get(batch_id).jobs


def test_statuses_of_a_batch_do_not_read_jobs(sqlite_database: Database) -> None:
    store = Store(sqlite_database)
    batch_id = store.submit_batch(*["demo"] * 50)
    with sqlite_database.write() as connection:  # rows that counting would find
        connection.execute(insert(batches).values(_a_row("f" * 32)))
        connection.exec_driver_sql("DROP TRIGGER tally_batch_deleted")
        connection.exec_driver_sql("DELETE FROM jobs")
    assert store.batches.get(batch_id).counts[JobStatus.PENDING] == 50


def _a_row(batch_id: str) -> dict[str, Any]:
    named = {"id": batch_id, "owner": "x", "created_at": 0, "priority": 0, "jobs": 0, "axes": [], "request": {}}
    return named | {"warnings": [], "spent": 0, "percent_told": 0, "ended_told": 0, "progressed_at": 0}


def add(store: Store, batch: Batch, number: int, *, charge: Charge | None = None, **limits: int) -> int:
    new = [NewJob(place, a_request(), lane="remote" if charge else "local", charge=charge) for place in range(number)]
    return store.batch_changes.add(batch, new, Submitter(batch.owner, 3), **limits)[0]


def cancelled_ids(store: Store, batch_id: str) -> list[str]:
    store.batch_changes.cancel(batch_id)
    return [each for portion in store.batch_changes.unsuccessful(batch_id, cancelled=True) for each in portion]


def test_paused_jobs_take_no_room_until_they_are_resumed(store: Store) -> None:
    batch_id = store.submit_batch("demo", "demo", "demo")
    store.batch_changes.pause(batch_id, most_paused=3)
    assert store.jobs.count_pending() == 0
    store.jobs.check_room(3, 3)
    store.submit(client="bob")
    with pytest.raises(QueueFull, match="1 are waiting already, and at most 3 may"):
        store.batch_changes.resume(batch_id, most_pending=3)
    assert store.batches.get(batch_id).status is BatchStatus.PAUSED
    assert store.jobs.count_pending() == 1
    store.batch_changes.resume(batch_id, most_pending=4)
    assert store.jobs.count_pending() == 4


def test_a_client_may_have_so_many_paused_jobs(store: Store) -> None:
    store.batch_changes.pause(store.submit_batch("demo", "demo"), most_paused=3)
    second = store.submit_batch("demo", "demo")
    with pytest.raises(QueueFull, match="2 of yours are already, and at most 3"):
        store.batch_changes.pause(second, most_paused=3)
    assert store.batches.get(second).status is BatchStatus.RUNNING
    store.batch_changes.pause(store.submit_batch("demo", "demo", "demo", client="bob"), most_paused=3)
    store.batch_changes.pause(second, most_paused=4)
    with pytest.raises(QueueFull, match="paused"):
        add(store, store.batches.get(second), 1, most_pending=4)
    assert add(store, store.batches.get(second), 1, most_pending=5) == 3


def test_jobs_are_put_back_only_where_there_is_room(store: Store) -> None:
    ids = cancelled_ids(store, store.submit_batch("demo", "demo", "demo"))
    store.submit_batch("demo", "demo")
    with pytest.raises(QueueFull):
        store.jobs.retry_many(dict.fromkeys(ids), max_attempts=3, most_pending=4)
    with pytest.raises(QueueFull):
        store.jobs.retry(ids[0], max_attempts=3, most_pending=2)
    assert store.jobs.count_pending() == 2
    store.jobs.retry(ids[0], max_attempts=3, most_pending=3)
    with pytest.raises(Conflict):  # whether there is room or not
        store.jobs.retry(ids[0], max_attempts=3, most_pending=3)
    store.jobs.retry_many(dict.fromkeys(ids), max_attempts=3, most_pending=5)
    assert store.jobs.count_pending() == 5


def test_jobs_of_a_paused_batch_are_put_back_as_paused_ones(store: Store) -> None:
    batch_id = store.submit_batch("demo", "demo")
    store.batch_changes.pause(batch_id)
    ids = cancelled_ids(store, batch_id)
    store.submit_batch("demo", "demo")
    with pytest.raises(QueueFull, match="paused"):
        store.jobs.retry_many(dict.fromkeys(ids), max_attempts=3, most_pending=1)
    assert len(store.jobs.retry_many(dict.fromkeys(ids), max_attempts=3, most_pending=2)) == 2


def test_what_was_read_before_allows_nothing_more(store: Store) -> None:
    batch = store.batches.get(store.submit_batch("demo", "demo", max_spend=3.0))
    assert add(store, batch, 2, most_jobs=5) == 4
    with pytest.raises(InvalidRequest, match="would have 6 jobs; MAX_BATCH_JOBS"):
        add(store, batch, 2, most_jobs=5)
    assert add(store, batch, 1, charge=Charge(2.0)) == 5
    with pytest.raises(InvalidRequest, match="max_spend is 3, but the jobs cost 4") as refused:
        add(store, batch, 1, charge=Charge(2.0))
    assert [each.field for each in refused.value.errors] == ["max_spend"]
    found = store.batches.get(batch.id)
    assert (found.jobs, found.spent, sum(found.counts.values())) == (5, 2.0, 5)


@pytest.mark.parametrize("limits", [{"most_jobs": 4}, {"most_pending": 4}, {"charge": Charge(2.0)}])
def test_of_concurrent_additions_one_finds_room(store: Store, limits: dict[str, Any]) -> None:
    batch = store.batches.get(store.submit_batch("demo", max_spend=3.0))
    together, refused = threading.Barrier(4), []

    def one() -> None:
        together.wait(timeout=20)
        try:
            add(store, batch, 3 if "charge" not in limits else 1, **limits)
        except (InvalidRequest, QueueFull) as error:
            refused.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(refused) == 3
    found = store.batches.get(batch.id)
    assert found.jobs == sum(found.counts.values()) == (2 if "charge" in limits else 4)


def failed_at_the_provider(store: Store) -> str:
    """Fail the next remote job, after its prediction."""
    claim = store.claims.claim("w", lane="remote")
    assert claim is not None
    predictions = PredictionStore(store.database)
    prediction = predictions.intend(claim, source="replicate", model="a/b", input={})
    predictions.created(claim, prediction, claim.job_id)
    predictions.observed("replicate", Report(claim.job_id, PredictionStatus.FAILED))
    store.claims.fail(claim, OutOfMemory())
    return claim.job_id


def test_a_retry_of_one_job_is_paid_from_the_budget_of_its_batch(store: Store) -> None:
    batch_id = store.submit_batch("demo", max_spend=3.0)
    add(store, store.batches.get(batch_id), 2, charge=Charge(1.0))
    first, second = failed_at_the_provider(store), failed_at_the_provider(store)
    store.jobs.retry(first, max_attempts=3, charge=Charge(1.0))
    assert store.batches.get(batch_id).spent == 3.0
    for retry in (
        lambda: store.jobs.retry(second, max_attempts=3, charge=Charge(1.0)),
        lambda: store.jobs.retry_many({second: Charge(1.0)}, max_attempts=3),
    ):
        with pytest.raises(InvalidRequest, match="more than is left of max_spend"):
            retry()
    assert store.jobs.get(second).status is JobStatus.FAILED
    assert store.batches.get(batch_id).spent == 3.0
    assert PredictionStore(store.database).asked_before([first, second, "other"]) == {first, second}


def test_a_retry_that_asks_no_provider_again_costs_nothing(store: Store) -> None:
    batch_id = store.submit_batch("demo", max_spend=2.0)
    add(store, store.batches.get(batch_id), 2, charge=Charge(1.0))
    ids = cancelled_ids(store, batch_id)
    assert len(store.jobs.retry_many(dict.fromkeys(ids, Charge(1.0)), max_attempts=3)) == 3
    assert store.batches.get(batch_id).spent == 2.0


def test_past_its_deadline_a_batch_takes_no_job(store: Store) -> None:
    batch_id = store.submit_batch("demo", "demo", max_seconds=60.0)
    age(store, batch_id, created_at=store.now() - 61)
    store.batch_changes.cancel(batch_id, "deadline")
    batch, ids = store.batches.get(batch_id), cancelled_ids(store, batch_id)
    for put in (
        lambda: store.batch_changes.check_in_time(batch_id),
        lambda: store.jobs.retry_many(dict.fromkeys(ids), max_attempts=3),
        lambda: store.jobs.retry(ids[0], max_attempts=3),
        lambda: add(store, batch, 1),
    ):
        with pytest.raises(Conflict, match="deadline"):
            put()
    assert counts(store, batch_id) == {"CANCELLED": 2}
    assert store.batches.get(batch_id).stopped == "deadline"
    age(store, batch_id, created_at=store.now())
    store.jobs.retry(ids[0], max_attempts=3)
    assert store.batches.get(batch_id).stopped is None  # so that it is cancelled at its deadline


def test_resumed_jobs_of_two_priorities_each_go_to_the_end_of_their_own(store: Store) -> None:
    batch_id = store.submit_batch("demo")
    store.batch_changes.prioritise(batch_id, 3)
    add(store, replace(store.batches.get(batch_id), priority=0), 1)
    store.batch_changes.pause(batch_id)
    for _ in range(2):
        store.submit(client="alice")
    store.batch_changes.resume(batch_id)
    waiting = [(job.priority, job.batch_id is not None) for job in store.jobs.waiting()]
    assert waiting == [(3, True), (0, False), (0, False), (0, True)]


def test_past_its_deadline_nothing_is_added_to_a_batch_whose_jobs_had_ended(store: Store) -> None:
    batch_id = store.submit_batch("demo", max_seconds=60.0)
    order(store)
    age(store, batch_id, created_at=store.now() - 61)
    with pytest.raises(Conflict, match="deadline"):
        add(store, store.batches.get(batch_id), 1)


def test_of_batches_that_are_resumed_at_once_one_finds_room(store: Store) -> None:
    paused = [store.submit_batch(*["demo"] * 20) for _ in range(4)]
    for batch_id in paused:
        store.batch_changes.pause(batch_id)
    together, refused = threading.Barrier(4), []

    def resume(batch_id: str) -> None:
        together.wait(timeout=20)
        try:
            store.batch_changes.resume(batch_id, most_pending=30)
        except QueueFull as error:
            refused.append(error)

    threads = [threading.Thread(target=resume, args=[batch_id]) for batch_id in paused]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert (len(refused), store.jobs.count_pending()) == (3, 20)
