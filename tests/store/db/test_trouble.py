"""The database is locked, full, restarted, or its connections break: callers get errors, and accepted jobs stay."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, text

from app.core.job import JobStatus
from app.errors import DatabaseFull, DatabaseReadOnly, DatabaseUnavailable
from app.store.db import database as database_module
from app.store.db import writer_lock as writer_lock_module
from app.store.db.database import Database
from app.store.db.engines import sqlite_module
from tests.store.harness import Store
from tests.store.queue.test_claims import check_each_once, hammer

HOLD_THE_LOCK = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE jobs SET step = step")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("ROLLBACK")
"""


def lock_from_another_process(database: Database, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD_THE_LOCK, str(database.url.database), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


@pytest.mark.parametrize("seconds", [1.0, pytest.param(10.0, marks=pytest.mark.slow)])
def test_a_lock_held_by_another_process_delays_and_loses_nothing(sqlite_database: Database, seconds: float) -> None:
    store = Store(sqlite_database)
    enqueued = {store.submit().id for _ in range(3)}
    taken: list[str] = []
    process = lock_from_another_process(sqlite_database, seconds)
    threads = [threading.Thread(target=lambda: enqueued.add(store.submit().id)) for _ in range(3)]
    threads.append(threading.Thread(target=lambda: taken.extend(hammer(store, "w1"))))
    for thread in threads:
        thread.start()
    assert {job.id for job in store.jobs.waiting()} <= enqueued, "readers do not wait"
    for thread in threads:
        thread.join()
    process.wait()
    check_each_once(store, enqueued, taken + hammer(store, "w2"))


def test_a_lock_held_for_too_long_raises_and_writes_nothing(
    sqlite_database: Database,
) -> None:
    store = Store(Database(str(sqlite_database.url), lock_timeout=0.1))
    process = lock_from_another_process(sqlite_database, 60)
    try:
        with pytest.raises(DatabaseUnavailable) as refused:
            store.submit()
        assert (refused.value.status, refused.value.retry_after) == (503, 5)
        assert store.jobs.waiting() == []
    finally:
        process.kill()
        process.wait()
    store.submit()
    store.database.close()


def test_writers_queue_at_the_gate_and_not_at_the_lock(sqlite_database: Database) -> None:
    """While waiting for the writer lock no transaction has begun: SQLite's lock stays free for the writer."""
    store = Store(sqlite_database)
    with writer_lock_module.writer_lock(Path(str(sqlite_database.url.database))):
        writer = threading.Thread(target=store.submit)
        writer.start()
        writer.join(0.5)
        assert writer.is_alive()
        with sqlite_database.engine.begin():  # BEGIN IMMEDIATE, at once
            assert store.jobs.count_pending() == 0
    writer.join()
    assert store.jobs.count_pending() == 1


def test_without_the_gate_writers_are_still_alone(sqlite_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer lock is for fairness; BEGIN IMMEDIATE is for correctness. (A stopped process may hold it for ever.)"""
    monkeypatch.setattr(writer_lock_module, "TIMEOUT_SECONDS", 0.0)
    store = Store(sqlite_database)
    enqueued = {store.submit().id for _ in range(60)}
    taken: list[str] = []
    threads = [threading.Thread(target=lambda: taken.extend(hammer(store, "w"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_each_once(store, enqueued, taken)


def test_a_full_disk_raises_and_leaves_the_queue_unchanged(sqlite_database: Database) -> None:
    store = Store(sqlite_database)
    job = store.submit()

    def no_more_room(connection: object, *_: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]  # type: ignore[attr-defined]
        connection.execute(f"PRAGMA max_page_count={pages + 1}")  # type: ignore[attr-defined]

    event.listen(sqlite_database.engine, "checkout", no_more_room)
    with pytest.raises(DatabaseFull) as refused:
        [store.submit(prompt="x" * 500) for _ in range(1000)]
    assert (refused.value.code, refused.value.status) == ("disk_full", 507)
    event.remove(sqlite_database.engine, "checkout", no_more_room)
    before = store.jobs.count_pending()
    assert store.jobs.get(job.id) == job
    assert store.jobs.counts()[JobStatus.PENDING] == before


def test_a_database_that_turns_read_only_raises_and_needs_no_restart(database: Database) -> None:
    """As when a file system is remounted after an error, or a PostgreSQL server has become a standby."""
    store = Store(database)
    job = store.submit()
    claim = store.claim()

    def turn_read_only(connection: Connection) -> None:
        setting = "PRAGMA query_only=on" if database.is_sqlite else "SET TRANSACTION READ ONLY"
        connection.connection.cursor().execute(setting)

    def turn_back(connection: Connection) -> None:
        if database.is_sqlite:
            connection.connection.cursor().execute("PRAGMA query_only=off")

    hooks = {"begin": turn_read_only, "rollback": turn_back}
    for name, hook in hooks.items():
        event.listen(database.engine, name, hook)
    for write in (store.submit, lambda: store.complete(claim), lambda: store.jobs.cancel(job.id)):
        with pytest.raises(DatabaseReadOnly, match="read-only"):
            write()
        assert database.read_only
    assert store.jobs.get(job.id).status is JobStatus.PROCESSING, "reading goes on"
    for name, hook in hooks.items():
        event.remove(database.engine, name, hook)
    store.complete(claim)
    assert not database.read_only
    assert store.jobs.get(job.id).status is JobStatus.COMPLETED


def test_broken_connections_raise_and_are_replaced(postgres_database: Database) -> None:
    """As when PostgreSQL is restarted: all pooled connections are dead, some in the middle of a transaction."""
    store = Store(postgres_database)
    accepted: set[str] = set()
    failures: list[DatabaseUnavailable] = []
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            try:
                accepted.add(store.submit().id)
            except DatabaseUnavailable as error:
                failures.append(error)

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    killer = Database(postgres_database.url.render_as_string(hide_password=False))
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    try:
        rounds = 0
        while len(failures) < 5 and rounds < 500:
            with killer.write() as connection:
                connection.execute(text(f"SELECT count(pg_terminate_backend(pid)) {others}"))
            rounds += 1
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        killer.close()
    waiting = {job.id for job in store.jobs.waiting(limit=100_000)}
    assert failures
    assert accepted <= waiting, "accepted means durable"
    assert len(waiting - accepted) <= len(failures), "only an unanswered request may have been accepted unawares"


def test_a_checkpoint_empties_the_wal_and_cuts_it_short_only_when_it_has_grown(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(sqlite_database)
    wal = Path(f"{sqlite_database.url.database}-wal")
    for _ in range(5):
        store.submit()
    size = wal.stat().st_size
    sqlite_database.checkpoint()
    assert wal.stat().st_size == size, "it is overwritten in place; growing it again would cost every commit"
    with sqlite_database.read() as connection:
        _busy, pages, written_back = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
    assert pages == written_back
    store.submit()
    assert wal.stat().st_size == size
    monkeypatch.setattr(database_module, "WAL_PAGES", 1)
    sqlite_database.checkpoint()
    assert wal.stat().st_size == 0
    assert store.jobs.count_pending() == 6


def test_a_reader_postpones_a_checkpoint_and_is_not_disturbed(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "WAL_PAGES", 1)
    store = Store(sqlite_database)
    wal = Path(f"{sqlite_database.url.database}-wal")
    for _ in range(3):
        store.submit()
    with sqlite_database.read() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM jobs")
        rows.fetchone()
        store.submit()
        sqlite_database.checkpoint()
        assert wal.stat().st_size > 0
        assert len(rows.fetchall()) == 2
    sqlite_database.checkpoint()
    assert wal.stat().st_size == 0
    with sqlite_database.read() as connection:
        assert connection.scalar(text("PRAGMA busy_timeout")) == database_module.LOCK_TIMEOUT_SECONDS * 1000


def test_every_connection_is_set_up_for_several_processes(sqlite_database: Database) -> None:
    with sqlite_database.read() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA journal_size_limit")) == 4000 * 4096
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1


def test_an_old_sqlite_is_warned_about(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    module = sqlite_module()
    assert not caplog.records
    monkeypatch.setattr(module, "sqlite_version_info", (3, 51, 2))
    sqlite_module()
    assert "WAL-reset bug" in caplog.text
