"""A SQLite file that is removed, replaced or damaged under the running service is noticed at the next statement."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import DatabaseDamaged, DatabaseUnavailable
from app.store.db.database import Database
from app.store.db.database_file import DatabaseFile
from app.store.db.migrate import migrate
from app.store.queue.status_probe import StatusProbeStore
from tests.store.harness import Store

PAGE = 4096


@pytest.fixture
def store(sqlite_database: Database) -> Store:
    return Store(sqlite_database)


def path_of(store: Store) -> Path:
    return Path(str(store.database.url.database))


def removed(path: Path) -> None:
    path.rename(path.with_name("away"))


def replaced(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.rename(path.with_name("away"))
    path.with_name("copy").rename(path)


@pytest.mark.parametrize("remove", [removed, replaced])
def test_nothing_is_accepted_or_read_while_the_file_is_not_its_own(
    store: Store, remove: Callable[[Path], None]
) -> None:
    job, path = store.submit(), path_of(store)
    remove(path)
    there = path.exists()
    uses = (
        store.submit,
        store.claim,
        lambda: store.jobs.get(job.id),
        lambda: StatusProbeStore(store.database).probe(job.id),
    )
    for use in uses:
        with pytest.raises(DatabaseUnavailable, match="removed or replaced") as refused:
            use()
        assert (refused.value.code, refused.value.status) == ("database_unavailable", 503)
        assert refused.value.retry_after
        assert path.name in refused.value.detail
        assert "put" in refused.value.detail.lower()
    assert path.exists() is there, "no empty file may be made in its place"
    os.replace(path.with_name("away"), path)
    assert store.jobs.get(job.id) == job
    store.submit()


def test_a_new_connection_makes_no_file_in_the_place_of_a_missing_one(store: Store) -> None:
    store.submit()
    removed(path_of(store))
    store.database.engine.dispose()
    with pytest.raises(DatabaseUnavailable):
        store.submit()
    assert not path_of(store).exists()


def test_a_file_that_vanishes_during_a_transaction_acknowledges_nothing(store: Store) -> None:
    with pytest.raises(DatabaseUnavailable), store.database.write():
        removed(path_of(store))


def damage_pages(path: Path) -> None:
    """Overwrite all but the first page, as a broken disk might."""
    with path.open("r+b") as file:
        for page in range(1, path.stat().st_size // PAGE):
            file.seek(page * PAGE)
            file.write(os.urandom(PAGE))


def overwrite(path: Path) -> None:
    path.write_bytes(b"This is no database. " * 1000)


def garble_schema(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"CREATE TABLE", b"\xff\xfe\xffATE T\x80BLE"))


def cut_off(path: Path) -> None:
    os.truncate(path, PAGE * 2)


@pytest.mark.parametrize("damage", [damage_pages, overwrite, garble_schema, cut_off])
def test_a_damaged_database_says_what_to_do_at_start(
    migrated_sqlite: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "queue.db"
    shutil.copy(migrated_sqlite, path)
    damage(path)
    database = Database(f"sqlite:///{path}")

    def start() -> None:
        migrate(database)
        Store(database).submit()

    with pytest.raises(DatabaseDamaged) as refused:
        start()
    assert (refused.value.code, refused.value.status) == ("database_damaged", 503)
    assert refused.value.detail.startswith("The database queue.db is damaged: restore the backup")
    assert "cyberimage restore" in refused.value.detail
    database.close()


@pytest.mark.parametrize("damage", [damage_pages, overwrite])
def test_a_database_damaged_while_it_is_used_is_told_once_in_the_log(
    store: Store, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    job = store.submit()
    store.database.checkpoint()
    store.database.engine.dispose()  # what is cached hides the damage
    for name in ("-wal", "-shm"):
        Path(f"{path_of(store)}{name}").unlink(missing_ok=True)
    damage(path_of(store))
    with caplog.at_level(logging.ERROR, "cyberimage"):
        for _ in range(5):
            with pytest.raises(DatabaseDamaged):
                store.jobs.get(job.id)
            with pytest.raises(DatabaseDamaged):
                store.submit()
    assert len(caplog.records) == 1
    assert "damaged" in caplog.text


def test_json_that_cannot_be_read_is_damage(store: Store) -> None:
    job = store.submit()
    with store.database.write() as connection:
        connection.exec_driver_sql("UPDATE jobs SET warnings = '[\"a'")
    with pytest.raises(DatabaseDamaged):
        store.jobs.get(job.id)


def test_a_file_that_was_closed_and_is_missing_is_not_begun_anew(store: Store) -> None:
    """The last one that closes it deletes the WAL. A new file would take jobs, and its WAL would damage the old one."""
    path = path_of(store)
    store.submit()
    store.database.close()
    removed(path)
    assert not path.with_name(f"{path.name}-wal").exists()
    late = Database(str(store.database.url))
    with pytest.raises(DatabaseUnavailable, match=rf"is missing, though {path.name}\.gate is there"):
        migrate(late)
    assert not path.exists()
    path.with_name(f"{path.name}.gate").unlink()
    migrate(late)
    assert path.exists()
    late.close()


def test_a_file_that_goes_between_the_look_and_the_connect_is_not_begun_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, look = path_of(store), DatabaseFile.connect_url
    late = Database(str(store.database.url))

    def remove_after(file: DatabaseFile) -> str:
        url = look(file)
        removed(path)
        return url

    monkeypatch.setattr(DatabaseFile, "connect_url", remove_after)
    with pytest.raises(DatabaseUnavailable), late.read():
        pass
    assert not path.exists()


def test_a_process_that_starts_while_the_file_is_away_does_not_begin_anew(store: Store) -> None:
    """SQLite would delete the WAL, and with it what was accepted last."""
    job, path = store.submit(), path_of(store)
    removed(path)
    late = Database(str(store.database.url))
    with pytest.raises(DatabaseUnavailable, match="is missing, though"):
        migrate(late)
    os.replace(path.with_name("away"), path)
    migrate(late)
    assert Store(late).jobs.get(job.id) == job
    late.close()
