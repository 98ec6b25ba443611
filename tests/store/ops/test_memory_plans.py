"""Memory plans under which the kernel killed a worker are remembered by model and device; all others are forgotten."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from app.core.deaths import Death
from app.core.load_requests import LoadAction
from app.store.db.schema import memory_plans
from app.store.ops.memory_plans import KILLED_SECONDS
from app.store.queue.workers import WorkerReport
from tests.store.harness import Store

OOM = Death(-9, out_of_memory=True)
HERE = {"host": "here", "device_id": "cuda:0"}


def rows(store: Store) -> int:
    with store.database.read() as connection:
        return int(connection.scalar(select(func.count()).select_from(memory_plans)) or 0)


def test_the_plan_of_the_running_job_is_killed(store: Store) -> None:
    job = store.submit("flux")
    store.claim("dead")
    store.memory_plans.begin("dead", "flux", "16 bit, group", **HERE)
    store.memory_plans.begin("dead", "sdxl", "16 bit, none", **HERE)
    assert store.memory_plans.killed("here", "cuda:0", "flux") == set()
    store.deaths.record("dead", OOM)
    assert store.memory_plans.killed("here", "cuda:0", "flux") == {"16 bit, group"}
    assert store.memory_plans.all_killed() == {"flux": {"16 bit, group"}}
    for host, device, model in (("here", "cuda:1", "flux"), ("there", "cuda:0", "flux"), ("here", "cuda:0", "sdxl")):
        assert store.memory_plans.killed(host, device, model) == set()
    message = store.row(job.id).error_message
    assert "It held flux by the memory plan '16 bit, group'; the next load on that device takes a smaller" in message
    assert rows(store) == 1


def test_several_plans_of_a_model_add_up(store: Store) -> None:
    job = store.submit("flux")
    for number, plan in enumerate(("16 bit, group", "float8, group")):
        store.claim(f"w{number}")
        store.memory_plans.begin(f"w{number}", "flux", plan, **HERE)
        store.deaths.record(f"w{number}", OOM)
        store.edit(job.id, available_at=None)
    assert store.memory_plans.killed("here", "cuda:0", "flux") == {"16 bit, group", "float8, group"}


@pytest.mark.parametrize("death", [Death(-9), Death(-11)])
def test_other_deaths_kill_no_plan(store: Store, death: Death) -> None:
    job = store.submit("flux")
    store.claim("dead")
    store.memory_plans.begin("dead", "flux", "16 bit, group", **HERE)
    store.deaths.record("dead", death)
    assert store.memory_plans.all_killed() == {}
    assert "memory plan" not in store.row(job.id).error_message
    assert rows(store) == 0


def test_a_worker_that_was_idle_was_not_killed_by_its_models(store: Store) -> None:
    store.memory_plans.begin("dead", "flux", "16 bit, group", **HERE)
    store.deaths.record("dead", OOM)
    assert store.memory_plans.all_killed() == {}


def test_a_load_request_counts_as_a_job_does(store: Store) -> None:
    request = store.load_requests.create(LoadAction.LOAD, "flux", lifetime=60)
    store.load_requests.take("dead")
    store.memory_plans.begin("dead", "flux", "16 bit, none", **HERE)
    store.deaths.record("dead", OOM)
    assert store.memory_plans.killed("here", "cuda:0", "flux") == {"16 bit, none"}
    seen = store.load_requests.get(request.id)
    assert seen is not None
    assert "by the memory plan '16 bit, none'" in (seen.error_message or "")


def test_the_plan_that_a_worker_took_last_counts(store: Store) -> None:
    store.submit("flux")
    store.claim("dead")
    for plan in ("16 bit, none", "16 bit, model"):
        store.memory_plans.begin("dead", "flux", plan, **HERE)
    store.deaths.record("dead", OOM)
    assert store.memory_plans.all_killed() == {"flux": {"16 bit, model"}}


def test_a_plan_is_tried_again_after_a_day(store: Store) -> None:
    store.submit("flux")
    store.claim("dead")
    store.memory_plans.begin("dead", "flux", "16 bit, none", **HERE)
    store.deaths.record("dead", OOM)
    with store.database.write() as connection:
        connection.execute(update(memory_plans).values(killed_at=store.now() - KILLED_SECONDS - 1))
    assert store.memory_plans.killed("here", "cuda:0", "flux") == set()
    store.memory_plans.begin("next", "flux", "16 bit, none", **HERE)
    assert rows(store) == 1


def test_a_worker_that_stops_leaves_no_plan(store: Store) -> None:
    store.workers.heartbeat(WorkerReport("w1", "here", 7, "cuda"))
    store.memory_plans.begin("w1", "flux", "16 bit, none", **HERE)
    store.workers.remove("w1")
    assert rows(store) == 0
