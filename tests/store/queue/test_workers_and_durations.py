"""Live workers, and measured durations."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import update

from app.core.job import Phase
from app.store.db.schema import workers
from app.store.queue.durations import LOAD, duration_bucket
from app.store.queue.workers import WorkerReport
from tests.store.harness import LEASE, Store, a_request


def report(id: str = "w1", **values: object) -> WorkerReport:
    return WorkerReport(id=id, host="box", pid=1, device="cpu", **values)  # type: ignore[arg-type]


def move(store: Store, id: str, seconds: float) -> None:
    with store.database.write() as connection:
        connection.execute(update(workers).where(workers.c.id == id).values(heartbeat_at=store.now() + seconds))


def test_a_worker_is_live_while_it_beats(store: Store) -> None:
    store.workers.heartbeat(report())
    store.workers.heartbeat(
        report(state="busy", job_id="j", models=[{"model_id": "demo"}], rss_bytes=5, vram_bytes=2**40)
    )
    (row,) = store.workers.live()
    assert (row["id"], row["state"], row["job_id"], row["vram_bytes"]) == ("w1", "busy", "j", 2**40)
    assert row["models"] == [{"model_id": "demo"}]
    move(store, "w1", -LEASE - 1)
    assert store.workers.live() == []
    store.workers.heartbeat(report())
    assert len(store.workers.live()) == 1
    store.workers.remove("w1")
    assert store.workers.live() == []


def test_the_dead_are_forgotten_and_the_living_are_not(store: Store) -> None:
    for id, moved in (("alive", 0.0), ("silent", -2 * LEASE), ("dead", -11 * LEASE), ("from the future", 11 * LEASE)):
        store.workers.heartbeat(report(id))
        move(store, id, moved)
    store.workers.delete_dead()
    with store.database.read() as connection:
        assert {row.id for row in connection.execute(workers.select())} == {"alive", "silent"}


def test_speeds_are_learned_per_model_size_and_steps(store: Store) -> None:
    store.submit("flux-dev", num_images=2)
    store.complete(store.claim(), **{Phase.LOADING.value: 20.0, Phase.ENCODING.value: 1.0, Phase.GENERATING.value: 9.0})
    bucket = duration_bucket(a_request("flux-dev"))
    assert store.speeds.all() == {("flux-dev", LOAD): 20.0, ("flux-dev", bucket): 5.0}
    store.submit("flux-dev")
    store.complete(store.claim(), **{Phase.GENERATING.value: 15.0})
    assert store.speeds.all() == pytest.approx({("flux-dev", LOAD): 20.0, ("flux-dev", bucket): 8.0})
    changes = ({}, {"width": 512}, {"num_inference_steps": 4}, {"scheduler": "heun"})
    assert len({duration_bucket(a_request(**other)) for other in changes}) == 4


def test_two_workers_that_learn_the_same_thing_for_the_first_time_do_not_hinder_each_other(store: Store) -> None:
    for _ in range(8):
        store.submit()
    claims = [store.claim(f"w{number}") for number in range(8)]
    failures: list[BaseException] = []
    start = threading.Barrier(8)

    def finish(number: int) -> None:
        start.wait()
        try:
            store.complete(claims[number], **{Phase.LOADING.value: 3.0, Phase.GENERATING.value: 2.0})
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=finish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.output_count() == 8
    assert store.speeds.all()[("demo", LOAD)] == pytest.approx(3.0)
