"""Orders to load and unload: each carried out once, by whom it is meant for, and in time or never."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.core.model_orders import ModelOrder, OrderAction, OrderState
from app.errors import LoadCalledOff, OutOfMemory
from app.store.db.schema import model_orders
from tests.store.harness import Store

LOAD, UNLOAD = OrderAction.LOAD, OrderAction.UNLOAD


def order(store: Store, model_id: str | None = "demo", *, addressee: str | None = None, lifetime: float = 60):
    return store.model_orders.place(LOAD, model_id, lifetime=lifetime, addressee=addressee)


def take(store: Store, worker: str = "w1") -> ModelOrder:
    taken = store.model_orders.take(worker)
    assert taken is not None
    return taken


def test_a_life(store: Store) -> None:
    placed = order(store)
    assert (placed.state, placed.worker_id, placed.seconds) == (OrderState.PENDING, None, None)
    taken = take(store)
    assert (taken.id, taken.state, taken.worker_id) == (placed.id, OrderState.TAKEN, "w1")
    assert store.model_orders.done(taken, was_resident=True)
    ended = store.model_orders.get(placed.id)
    assert ended is not None
    assert (ended.state, ended.was_resident) == (OrderState.DONE, True)
    assert ended.seconds is not None


def test_a_failure_is_kept_with_its_code(store: Store) -> None:
    order(store)
    taken = take(store)
    assert store.model_orders.failed(taken, OutOfMemory("Too large."))
    ended = store.model_orders.get(taken.id)
    assert ended is not None
    assert (ended.state, ended.error_code, ended.error_message) == (OrderState.FAILED, "out_of_memory", "Too large.")


def test_the_oldest_first_and_each_once(store: Store) -> None:
    placed = [order(store, model).id for model in ("a", "b")]
    assert [take(store).id, take(store, "w2").id] == placed
    assert store.model_orders.take("w1") is None


def test_of_many_who_reach_for_one_only_one_gets_it(store: Store) -> None:
    order(store)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(store.model_orders.take, [f"w{number}" for number in range(8)]))
    assert sum(one is not None for one in got) == 1


def test_one_that_is_meant_for_somebody_waits_for_them(store: Store) -> None:
    order(store, addressee="w2")
    assert store.model_orders.take("w1") is None
    assert take(store, "w2").addressee == "w2"


def test_past_its_time_nobody_takes_it(store: Store) -> None:
    order(store, lifetime=-1)
    assert store.model_orders.take("w1") is None
    assert store.model_orders.under_way(LOAD, "demo") is None


@pytest.mark.parametrize("end", ["done", "release"])
def test_only_who_took_it_may_end_it(store: Store, end: str) -> None:
    order(store)
    first = take(store)
    store.model_orders.release(first)
    second = take(store, "w2")
    assert not getattr(store.model_orders, end)(first)
    assert not store.model_orders.failed(first, OutOfMemory())
    assert store.model_orders.done(second)
    assert not store.model_orders.done(second)


def test_the_one_under_way_is_found(store: Store) -> None:
    assert store.model_orders.under_way(LOAD, "demo") is None
    placed = order(store)
    order(store, "other")
    assert store.model_orders.under_way(UNLOAD, "demo") is None
    for _ in range(2):
        found = store.model_orders.under_way(LOAD, "demo")
        assert found is not None
        assert found.id == placed.id
        store.model_orders.take("w1")
    store.model_orders.done(found)
    assert store.model_orders.under_way(LOAD, "demo") is None


def test_old_ones_are_forgotten(store: Store) -> None:
    old = order(store)
    with store.database.write() as connection:
        connection.execute(model_orders.update().values(created_at=model_orders.c.created_at - 90_000))
    order(store)
    assert store.model_orders.get(old.id) is None


def test_how_far_a_download_is_only_its_worker_says(store: Store) -> None:
    order(store)
    taken = take(store)
    assert store.model_orders.progress(taken, downloaded=1, total=9, per_second=None)
    assert [(each.downloaded_bytes, each.eta_seconds) for each in store.model_orders.being_loaded()] == [(1, None)]
    assert store.model_orders.progress(taken, downloaded=3, total=9, per_second=2.0)
    assert [each.eta_seconds for each in store.model_orders.being_loaded()] == [3.0]
    stranger = dataclasses.replace(taken, worker_id="w2")
    assert not store.model_orders.progress(stranger, downloaded=9, total=9, per_second=None)
    assert store.model_orders.done(taken)
    assert not store.model_orders.progress(taken, downloaded=9, total=9, per_second=None)
    assert store.model_orders.being_loaded() == []


@pytest.mark.parametrize("model_id", ["a", None])
def test_a_load_that_is_called_off_is_nobodys(store: Store, model_id: str | None) -> None:
    reason = LoadCalledOff("Enough.")
    running = [order(store, "a"), order(store, "b")][0]
    taken = take(store)
    assert taken.id == running.id
    assert store.model_orders.is_wanted(taken)
    store.model_orders.place(UNLOAD, "a", lifetime=60)
    ended = store.model_orders.call_off(model_id, reason)
    assert {each.model_id for each in ended} == ({"a"} if model_id else {"a", "b"})
    assert not store.model_orders.is_wanted(taken)
    assert not store.model_orders.done(taken)
    assert not store.model_orders.release(taken)
    told = store.model_orders.get(taken.id)
    assert told is not None
    assert (told.state, told.error_code, told.error_message) == (OrderState.FAILED, "load_called_off", "Enough.")
    assert store.model_orders.call_off(model_id, reason) == []
    left = [take(store).action for _ in range(1 if model_id is None else 2)]
    assert left == ([UNLOAD] if model_id is None else [LOAD, UNLOAD])
