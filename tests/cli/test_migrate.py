"""`cyberimage migrate`: an old database is brought up to date, and what is newer is refused with a sentence."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from app.cli.main import main


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("IMAGES_DIR", "VIDEOS_DIR", "LOG_DIR", "MODEL_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    path = tmp_path / "db.sqlite"
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{path}")
    return path


def test_it_makes_the_database_and_says_its_revision(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate"]) == 0
    (kept,) = sqlite3.connect(database).execute("SELECT version_num FROM alembic_version").fetchone()
    assert capsys.readouterr().out == f"The database is at revision {kept}.\n"
    assert main(["migrate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"revision": kept}


def test_a_newer_database_is_left_alone(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate"]) == 0
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert main(["migrate"]) == 2
    assert "newer CyberImage" in capsys.readouterr().err
