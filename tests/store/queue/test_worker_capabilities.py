"""What workers can run is written when it changes, once for all that report the same, and kept for a while."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from app.core.worker_capabilities import Capabilities
from app.store.db.database import Database
from app.store.db.schema import worker_capabilities, workers
from app.store.queue.worker_capabilities import KEPT_SECONDS, CapabilityStore
from app.store.queue.workers import WorkerReport
from tests.store.harness import LEASE, Store

FLUX, SD15 = (Capabilities(here=frozenset([model])) for model in ("flux", "sd15"))


def beat(store: Store, id: str, can: Capabilities | None) -> None:
    store.workers.heartbeat(WorkerReport(id, "box", 1, "cpu", capabilities=can))


def read(store: Store) -> dict[str, Capabilities | None]:
    """By worker, as another process reads it."""
    rows = store.workers.live()
    reports = CapabilityStore(store.database).reports({row["capabilities"] for row in rows if row["capabilities"]})
    return {row["id"]: reports.get(row["capabilities"]) for row in rows}


def rows(store: Store) -> int:
    with store.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(worker_capabilities)) or 0


def age(store: Store, seconds: float) -> None:
    with store.database.write() as connection:
        connection.execute(update(worker_capabilities).values(seen_at=store.now() - seconds))


def test_workers_that_can_do_the_same_share_a_row(store: Store) -> None:
    for id, can in (("w1", FLUX), ("w2", FLUX), ("w3", SD15), ("old", None)):
        beat(store, id, can)
    assert read(store) == {"w1": FLUX, "w2": FLUX, "w3": SD15, "old": None}
    assert rows(store) == 2


def test_it_is_written_again_only_when_it_has_changed(store: Store) -> None:
    beat(store, "w1", FLUX)
    age(store, 100.0)
    before = seen_at(store, FLUX)
    beat(store, "w1", FLUX)
    assert seen_at(store, FLUX) == before
    beat(store, "w1", SD15)
    assert read(store) == {"w1": SD15}
    beat(store, "w1", FLUX)
    assert seen_at(store, FLUX) > before


def seen_at(store: Store, can: Capabilities) -> float:
    wanted = select(worker_capabilities.c.seen_at).where(worker_capabilities.c.digest == can.digest)
    with store.database.read() as connection:
        return float(connection.scalar(wanted) or 0.0)


def test_a_row_that_was_removed_comes_back_with_its_report(store: Store) -> None:
    beat(store, "w1", FLUX)
    with store.database.write() as connection:
        connection.execute(workers.delete())
        connection.execute(worker_capabilities.delete())
    beat(store, "w1", FLUX)
    assert read(store) == {"w1": FLUX}


def test_what_a_worker_could_do_is_known_for_a_while_after_it_has_left(store: Store) -> None:
    beat(store, "w1", FLUX)
    beat(store, "w2", SD15)
    age(store, 1000.0)
    reader = CapabilityStore(store.database)
    assert reader.gone(60.0) == set()
    store.workers.remove("w1")
    assert reader.gone(60.0) == {FLUX.digest}
    age(store, 100.0)
    assert reader.gone(60.0) == set()
    assert reader.gone(86_400.0) == {FLUX.digest}


def test_one_that_died_is_remembered_too(store: Store) -> None:
    beat(store, "w1", FLUX)
    age(store, 1000.0)
    with store.database.write() as connection:
        connection.execute(update(workers).values(heartbeat_at=store.now() - 11 * LEASE))
    store.workers.delete_dead()
    assert CapabilityStore(store.database).gone(60.0) == {FLUX.digest}


def test_what_a_live_worker_could_do_before_does_not_count_as_gone(store: Store) -> None:
    beat(store, "w1", FLUX)
    beat(store, "w2", SD15)
    beat(store, "w1", SD15)
    assert CapabilityStore(store.database).gone(60.0) == set()
    beat(store, "w1", FLUX)
    store.workers.remove("w2")
    assert CapabilityStore(store.database).gone(60.0) == {SD15.digest}


def test_old_reports_that_no_worker_makes_are_deleted(store: Store) -> None:
    beat(store, "w1", FLUX)
    beat(store, "w2", SD15)
    store.workers.remove("w2")
    age(store, KEPT_SECONDS + 60)
    store.workers.delete_dead()
    assert read(store) == {"w1": FLUX}
    assert rows(store) == 1


def test_how_many_jobs_each_worker_runs_is_read_from_the_queue(store: Store) -> None:
    for _ in range(3):
        store.submit()
    store.claim("w1")
    store.claim("w1")
    store.claim("w2")
    assert store.workers.running() == {"w1": 2, "w2": 1}


def test_a_report_that_cannot_be_read_counts_as_none(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(sqlite_database)
    beat(store, "w1", FLUX)
    for body in ("[]", "not JSON", '{"here": 7}'):
        with store.database.write() as connection:
            connection.execute(update(worker_capabilities).values(body=body))
        assert read(store) == {"w1": None}, body
