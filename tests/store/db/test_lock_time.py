"""How long a write waits for a lock that another program holds: requests briefly, workers longer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import text

from app.errors import DatabaseUnavailable
from app.store.db import writer_lock as writer_lock_module
from app.store.db.database import Database
from app.store.db.migrate import migrate
from tests.store.harness import Store
from tests.waiting import PATIENCE

SECONDS = 0.4


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, sqlite_database: Database) -> str:
    if request.param == "sqlite":
        return str(sqlite_database.url)
    database: Database = request.getfixturevalue("postgres_database")
    return database.url.render_as_string(hide_password=False)


def hold(stack: ExitStack, other: Database) -> None:
    """Hold what another program might: SQLite's write lock, or a table lock."""
    connection = stack.enter_context(other.engine.connect())
    connection.begin()
    if not other.is_sqlite:
        connection.execute(text("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"))
    stack.callback(connection.rollback)


def test_a_write_gives_up_after_its_time_and_goes_on_afterwards(url: str) -> None:
    other, database = Database(url), Database(url, lock_timeout=SECONDS)
    store = Store(database)
    with ExitStack() as stack:
        hold(stack, other)
        with pytest.raises(DatabaseUnavailable, match="locked") as refused:
            store.submit()
        assert (refused.value.code, refused.value.status) == ("database_unavailable", 503)
        assert refused.value.retry_after
    store.submit()
    assert store.jobs.count_pending() == 1
    database.close()
    other.close()


def test_the_writer_lock_counts_towards_the_time(sqlite_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a worker that waits for longer, a request waits no longer than it would alone."""
    given: list[float] = []
    lock_within: Callable[[int, float], bool] = writer_lock_module._lock_within

    def noting(descriptor: int, seconds: float) -> bool:
        given.append(seconds)
        return lock_within(descriptor, seconds)

    monkeypatch.setattr(writer_lock_module, "_lock_within", noting)
    database = Database(str(sqlite_database.url), lock_timeout=SECONDS)
    other = Database(str(sqlite_database.url))
    with ExitStack() as stack:
        hold(stack, other)
        stack.enter_context(writer_lock_module.writer_lock(Path(str(database.url.database))))
        with pytest.raises(DatabaseUnavailable), database.write():
            raise AssertionError("it is locked")
    assert max(given[1:]) <= SECONDS / 2
    with database.read() as connection:
        assert connection.scalar(text("PRAGMA busy_timeout")) == SECONDS * 1000, "reads keep theirs"
    database.close()
    other.close()


def test_a_migration_waits_for_another_however_long(url: str, request: pytest.FixtureRequest) -> None:
    """Processes that start together migrate one after the other; a large database takes minutes."""
    from app.store.db.migrate import _one_at_a_time

    first, second = Database(url, lock_timeout=0.1), Database(url, lock_timeout=0.1)
    done = threading.Event()
    with _one_at_a_time(first):
        thread = threading.Thread(target=lambda: (migrate(second), done.set()))
        thread.start()
        held_until = time.monotonic() + 0.5
        while time.monotonic() < held_until:
            assert not done.wait(0.05)
    thread.join(PATIENCE)
    assert done.is_set()
    first.close()
    second.close()
