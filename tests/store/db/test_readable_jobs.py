"""The view for people: read with the plain drivers, as sqlite3 and psql do, without the application."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from app.errors import GenerationTimeout
from app.store.db.database import Database
from app.store.db.migrate import migrate
from tests.store.harness import Store, an_output

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(params=["sqlite", "postgresql"])
def connection(request: pytest.FixtureRequest, tmp_path: Path):
    """A plain connection to a database with a completed job of two pictures, a waiting one and one out of time."""
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/queue.db" if sqlite else request.getfixturevalue("postgres_url")
    database = Database(url)
    migrate(database)
    store = Store(database)
    for model in ("first", "late", "waiting"):
        store.submit(model)
    claim = store.claim()
    store.complete(claim, an_output(claim.job_id, 1, path="b.png"), an_output(claim.job_id, 0, path="a.png"))
    store.claims.fail(store.claim(), GenerationTimeout("Too slow."))
    database.close()
    plain = url.removeprefix("sqlite:///") if sqlite else url.replace("+psycopg", "")
    with closing(sqlite3.connect(plain) if sqlite else psycopg.connect(plain)) as opened:
        yield opened


def test_words_paths_and_times(connection) -> None:
    query = "SELECT model, prompt, status, image_path, images, error_code FROM jobs_readable ORDER BY created_at, model"
    assert sorted(connection.execute(query).fetchall()) == [
        ("first", "a red boat", "completed", "a.png", 2, None),
        ("late", "a red boat", "timeout", None, 0, "timeout"),
        ("waiting", "a red boat", "pending", None, 0, None),
    ]
    times = "SELECT created_at, started_at, completed_at FROM jobs_readable WHERE status = 'completed'"
    assert all(ISO.fullmatch(time) for time in connection.execute(times).fetchone())
    waiting = connection.execute("SELECT started_at, completed_at FROM jobs_readable WHERE status = 'pending'")
    assert waiting.fetchone() == (None, None)


def test_it_is_read_only(connection) -> None:
    with pytest.raises((sqlite3.OperationalError, psycopg.Error), match="view"):
        connection.execute("UPDATE jobs_readable SET prompt = 'x'")
