"""File permissions: other users of the machine cannot read its files, whatever the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.service import Service
from tests.processes import Processes

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.afresh]


@pytest.fixture(autouse=True)
def careless_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path, forbidden: int = 0o077) -> list[str]:
    """Files, sockets and folders accessible to other users, except those written by the test."""
    paths = [path for path in folder.rglob("*") if not path.name.startswith("process-")]
    return [str(path) for path in paths if not path.is_symlink() and path.lstat().st_mode & forbidden]


def test_run_py_and_its_children(new_service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "images" / "2025" / "01" / "02" / "0123.png"
    for file in (old, tmp_path / "logs" / "errors.log.1", tmp_path / "db" / "backups" / "before-upgrade-1.sqlite"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"old")
        file.chmod(0o644)
    temporary = tmp_path / "t"
    temporary.mkdir(mode=0o1777)
    service: Service = new_service(TMPDIR=str(temporary))
    service.start()
    service.completed(service.submit("a boat", "tiny-flux"))
    for name in ("db", "images", "logs", "t"):
        assert open_to_others(tmp_path / name) == []
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("db", "images", "logs")} == {0o700}
    assert old.read_bytes() == b"old"
    log = (tmp_path / "logs" / "app.log").read_text()
    assert log.count("were open to others") == 1
    assert (tmp_path / "logs" / "run.pid").exists()
    assert service.stop() == 0


def test_each_command(new_service, tmp_path: Path) -> None:
    service: Service = new_service()
    processes = Processes(tmp_path)
    backup = tmp_path / "kept" / "backup"
    commands = (
        ("app.cli", "keys", "create", "alice"),
        ("app.cli", "models", "list"),
        (
            "app.cli",
            "cleanup",
        ),
        ("app.cli", "backup", str(backup)),
        ("app.cli", "restore", str(backup)),
    )
    try:
        for module, *arguments in commands:
            (tmp_path / "db").mkdir(exist_ok=True)
            for path in (tmp_path / "db", *(tmp_path / "db").iterdir()):
                path.chmod(0o777)
            assert processes.start("-m", module, *arguments, **service.environment).wait(60) == 0, processes.said()
            assert open_to_others(tmp_path / "db") == []
    finally:
        processes.close()
    assert open_to_others(tmp_path / "kept") == []
    assert (backup / "database.sqlite").is_file()


def test_a_group_that_shares_an_installation(new_service, tmp_path: Path) -> None:
    service: Service = new_service(FILE_MODE="group")
    service.start()
    service.completed(service.submit("a boat", "tiny-flux"))
    for name in ("db", "images", "logs"):
        assert open_to_others(tmp_path / name, 0o007) == []
        assert all(path.stat().st_mode & 0o060 == 0o060 for path in (tmp_path / name).rglob("*"))
    assert service.stop() == 0
