"""Load requests: each carried out once, by its addressee, and not after it has expired."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.core.load_requests import LoadAction, LoadRequest, LoadState
from app.errors import LoadCancelled, OutOfMemory
from app.store.db.schema import load_requests
from tests.store.harness import Store

LOAD, UNLOAD = LoadAction.LOAD, LoadAction.UNLOAD


def order(store: Store, model_id: str | None = "demo", *, addressee: str | None = None, lifetime: float = 60):
    return store.load_requests.create(LOAD, model_id, lifetime=lifetime, addressee=addressee)


def take(store: Store, worker: str = "w1") -> LoadRequest:
    taken = store.load_requests.take(worker)
    assert taken is not None
    return taken


def test_a_life(store: Store) -> None:
    placed = order(store)
    assert (placed.state, placed.worker_id, placed.seconds) == (LoadState.PENDING, None, None)
    taken = take(store)
    assert (taken.id, taken.state, taken.worker_id) == (placed.id, LoadState.TAKEN, "w1")
    assert store.load_requests.done(taken, was_resident=True)
    ended = store.load_requests.get(placed.id)
    assert ended is not None
    assert (ended.state, ended.was_resident) == (LoadState.DONE, True)
    assert ended.seconds is not None


def test_a_failure_is_kept_with_its_code(store: Store) -> None:
    order(store)
    taken = take(store)
    assert store.load_requests.failed(taken, OutOfMemory("Too large."))
    ended = store.load_requests.get(taken.id)
    assert ended is not None
    assert (ended.state, ended.error_code, ended.error_message) == (LoadState.FAILED, "out_of_memory", "Too large.")


def test_the_oldest_first_and_each_once(store: Store) -> None:
    placed = [order(store, model).id for model in ("a", "b")]
    assert [take(store).id, take(store, "w2").id] == placed
    assert store.load_requests.take("w1") is None


def test_of_many_workers_only_one_takes_a_request(store: Store) -> None:
    order(store)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(store.load_requests.take, [f"w{number}" for number in range(8)]))
    assert sum(one is not None for one in got) == 1


def test_a_request_with_an_addressee_waits_for_that_worker(store: Store) -> None:
    order(store, addressee="w2")
    assert store.load_requests.take("w1") is None
    assert take(store, "w2").addressee == "w2"


def test_an_expired_request_is_not_taken(store: Store) -> None:
    order(store, lifetime=-1)
    assert store.load_requests.take("w1") is None
    assert store.load_requests.under_way(LOAD, "demo") is None


@pytest.mark.parametrize("end", ["done", "release"])
def test_only_the_worker_that_took_it_may_end_it(store: Store, end: str) -> None:
    order(store)
    first = take(store)
    store.load_requests.release(first)
    second = take(store, "w2")
    assert not getattr(store.load_requests, end)(first)
    assert not store.load_requests.failed(first, OutOfMemory())
    assert store.load_requests.done(second)
    assert not store.load_requests.done(second)


def test_the_one_under_way_is_found(store: Store) -> None:
    assert store.load_requests.under_way(LOAD, "demo") is None
    placed = order(store)
    order(store, "other")
    assert store.load_requests.under_way(UNLOAD, "demo") is None
    for _ in range(2):
        found = store.load_requests.under_way(LOAD, "demo")
        assert found is not None
        assert found.id == placed.id
        store.load_requests.take("w1")
    store.load_requests.done(found)
    assert store.load_requests.under_way(LOAD, "demo") is None


def test_old_ones_are_forgotten(store: Store) -> None:
    old = order(store)
    with store.database.write() as connection:
        connection.execute(load_requests.update().values(created_at=load_requests.c.created_at - 90_000))
    order(store)
    assert store.load_requests.get(old.id) is None


def test_only_its_worker_may_store_download_progress(store: Store) -> None:
    order(store)
    taken = take(store)
    assert store.load_requests.progress(taken, downloaded=1, total=9, per_second=None)
    assert [(each.downloaded_bytes, each.eta_seconds) for each in store.load_requests.being_loaded()] == [(1, None)]
    assert store.load_requests.progress(taken, downloaded=3, total=9, per_second=2.0)
    assert [each.eta_seconds for each in store.load_requests.being_loaded()] == [3.0]
    stranger = dataclasses.replace(taken, worker_id="w2")
    assert not store.load_requests.progress(stranger, downloaded=9, total=9, per_second=None)
    assert store.load_requests.done(taken)
    assert not store.load_requests.progress(taken, downloaded=9, total=9, per_second=None)
    assert store.load_requests.being_loaded() == []


@pytest.mark.parametrize("model_id", ["a", None])
def test_a_cancelled_load_can_no_longer_be_taken_or_ended(store: Store, model_id: str | None) -> None:
    reason = LoadCancelled("Enough.")
    running = [order(store, "a"), order(store, "b")][0]
    taken = take(store)
    assert taken.id == running.id
    assert store.load_requests.is_active(taken)
    store.load_requests.create(UNLOAD, "a", lifetime=60)
    ended = store.load_requests.cancel(model_id, reason)
    assert {each.model_id for each in ended} == ({"a"} if model_id else {"a", "b"})
    assert not store.load_requests.is_active(taken)
    assert not store.load_requests.done(taken)
    assert not store.load_requests.release(taken)
    ended = store.load_requests.get(taken.id)
    assert ended is not None
    assert (ended.state, ended.error_code, ended.error_message) == (LoadState.FAILED, "load_called_off", "Enough.")
    assert store.load_requests.cancel(model_id, reason) == []
    left = [take(store).action for _ in range(1 if model_id is None else 2)]
    assert left == ([UNLOAD] if model_id is None else [LOAD, UNLOAD])
