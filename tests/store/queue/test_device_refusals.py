"""A model that one device refused is left to others as long as one of them may run it."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from app.store.db.schema import device_refusals, workers
from app.store.queue.device_refusals import REFUSED_SECONDS
from app.store.queue.workers import WorkerReport
from tests.store.harness import LEASE, Store

SMALL, LARGE = ("here", "cuda:0"), ("here", "cuda:1")


def report(place: tuple[str, str], **changes: object) -> WorkerReport:
    host, device_id = place
    values: dict[str, object] = {"id": f"{host}-{device_id}", "host": host, "pid": 1, "device": "cuda"}
    return WorkerReport(**(values | {"device_id": device_id} | changes))  # type: ignore[arg-type]


@pytest.fixture
def small(store: Store) -> Store:
    """The store after the small card refused FLUX beside a large one."""
    for place in (SMALL, LARGE):
        store.workers.heartbeat(report(place))
    store.refusals.record(*SMALL, "flux")
    return store


def test_another_device_may_run_it(small: Store) -> None:
    assert small.refusals.refused(*SMALL) == {"flux"}
    assert small.refusals.others(*SMALL) == {"flux": {None}}
    assert small.refusals.others(*LARGE) == {}


def test_not_when_that_one_refused_it_too(small: Store) -> None:
    small.refusals.record(*LARGE, "sdxl")
    assert small.refusals.others(*SMALL) == {"flux": {None}}
    small.refusals.record(*LARGE, "flux")
    assert small.refusals.others(*SMALL) == {}


@pytest.mark.parametrize(
    "changes", [{"device_error": "broken"}, {"state": "draining"}, {"lane": "remote"}, {"device_id": "cuda:0"}]
)
def test_not_when_that_one_takes_no_such_jobs(small: Store, changes: dict[str, object]) -> None:
    small.workers.heartbeat(report(LARGE, **changes))
    assert small.refusals.others(*SMALL) == {}


def test_not_when_that_one_is_gone(small: Store) -> None:
    with small.database.write() as connection:
        connection.execute(update(workers).values(heartbeat_at=small.now() - LEASE - 1))
    assert small.refusals.others(*SMALL) == {}


def test_it_is_tried_again_after_a_while(small: Store) -> None:
    small.refusals.record(*SMALL, "flux")
    with small.database.write() as connection:
        assert connection.scalar(select(func.count()).select_from(device_refusals)) == 1
        connection.execute(update(device_refusals).values(refused_at=small.now() - REFUSED_SECONDS - 1))
    assert small.refusals.refused(*SMALL) == set()
    assert small.refusals.others(*SMALL) == {}
