"""One suite, two databases: tests with `database` (or `store`) run on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.store.db.database import Database
from app.store.db.migrate import migrate
from app.store.db.schema import metadata
from tests.store.harness import Store


@pytest.fixture(scope="session")
def migrated_postgres(new_postgres_database: Callable[[], str]) -> Iterator[Database]:
    database = Database(new_postgres_database())
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def sqlite_database(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Database]:
    path = tmp_path / "queue.db"
    shutil.copy(migrated_sqlite, path)
    database = Database(f"sqlite:///{path}")
    yield database
    database.close()


@pytest.fixture
def postgres_database(migrated_postgres: Database) -> Database:
    empty(migrated_postgres)
    return migrated_postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """An empty database with the current schema."""
    chosen: Database = request.getfixturevalue("sqlite_database" if request.param == "sqlite" else "postgres_database")
    return chosen


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


def empty(database: Database) -> None:
    """Not TRUNCATE: for a few rows PostgreSQL deletes them ten times faster."""
    kept_by_triggers = {"tallies", "counters"}  # so they go last
    names = [table.name for table in reversed(metadata.sorted_tables)]
    names.sort(key=lambda name: name in kept_by_triggers)
    with database.write(durable=False) as connection:
        for name in names:
            connection.exec_driver_sql(f"DELETE FROM {name}")
