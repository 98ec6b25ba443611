"""Files of an installation are private to its user (or group), including existing ones."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from app.files.modes import GROUP, PRIVATE, ProtectedPath, restrict


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def write(path: Path, data: bytes = b"x", mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.fixture
def open_umask() -> None:
    """Independent of this process' umask: these tests create folders that all users may read."""
    os.umask(0o022)


@pytest.fixture
def images(tmp_path: Path, open_umask: None) -> ProtectedPath:
    folder = tmp_path / "images"
    for day in ("2025/01/01", "2025/01/02", "2026/11/28"):
        for name in ("a.png", "a.thumbnail.webp"):
            write(folder / day / name, name.encode())
    return ProtectedPath(folder, own=r"\d{4}|\.gitkeep")


def test_folders_and_files_are_closed_and_keep_their_bytes(images: ProtectedPath) -> None:
    done = restrict([images], PRIVATE)
    everything = [images.folder, *images.folder.rglob("*")]
    assert {mode(path) for path in everything if path.is_dir()} == {0o700}
    assert {mode(path) for path in everything if path.is_file()} == {0o600}
    assert (images.folder / "2025/01/02/a.png").read_bytes() == b"a.png"
    assert (done.changed, done.failed, done.unfinished) == (len(everything), 0, False)


def test_a_closed_folder_is_not_walked_again(images: ProtectedPath, monkeypatch: pytest.MonkeyPatch) -> None:
    restrict([images], PRIVATE)
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr("app.files.modes.os.scandir", lambda path: listed.append(str(path)) or scandir(path))
    assert restrict([images], PRIVATE).changed == 0
    assert listed == [str(images.folder)]


def test_what_one_start_does_is_bounded_and_the_next_goes_on(images: ProtectedPath) -> None:
    first = restrict([images], PRIVATE, most=4)
    assert (first.changed, first.unfinished) == (4, True)
    assert mode(images.folder) == 0o700  # changed first, so other users have no access below
    while restrict([images], PRIVATE, most=4).unfinished:
        pass
    assert {mode(path) for path in images.folder.rglob("*")} == {0o700, 0o600}


def test_links_are_not_followed(images: ProtectedPath, tmp_path: Path) -> None:
    outside = write(tmp_path / "elsewhere" / "theirs.png")
    (images.folder / "2025" / "link.png").symlink_to(outside)
    (images.folder / "2025" / "folder").symlink_to(outside.parent)
    (images.folder / "2025" / "broken").symlink_to(tmp_path / "nothing")
    restrict([images], PRIVATE)
    assert (mode(outside), mode(outside.parent)) == (0o644, 0o755)


def test_the_folder_that_a_setting_names_may_be_a_link(images: ProtectedPath, tmp_path: Path) -> None:
    (tmp_path / "named").symlink_to(images.folder)
    restrict([ProtectedPath(tmp_path / "named", own=images.own)], PRIVATE)
    assert mode(images.folder / "2025/01/01/a.png") == 0o600


def test_of_a_shared_folder_only_what_is_ours(tmp_path: Path, open_umask: None) -> None:
    theirs = write(tmp_path / "shared" / "letter.txt")
    logs = ProtectedPath(tmp_path / "shared", own=r"app\.log(\..*)?|run\.pid")
    ours = [write(tmp_path / "shared" / name) for name in ("app.log", "app.log.1", "run.pid")]
    restrict([logs], PRIVATE)
    assert [mode(path) for path in ours] == [0o600] * 3
    assert (mode(theirs), mode(theirs.parent)) == (0o644, 0o755)


def test_a_folder_for_everybodys_files_stays_open(tmp_path: Path, open_umask: None) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    ours = write(tmp_path / "tmp" / "cyberimage.db")
    restrict([ProtectedPath(tmp_path / "tmp", own=r"cyberimage\.db.*")], PRIVATE)
    assert (mode(tmp_path / "tmp"), mode(ours)) == (0o1777, 0o600)


def test_files_of_another_user_are_not_changed(images: ProtectedPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.files.modes.os.geteuid", lambda: os.getuid() + 1)
    done = restrict([images], PRIVATE)
    assert (done.changed, done.failed) == (0, 0)


def test_a_group_reads_and_writes(images: ProtectedPath) -> None:
    restrict([images], PRIVATE)
    restrict([images], GROUP)
    assert (mode(images.folder), mode(images.folder / "2025")) == (0o770, 0o770)
    assert mode(images.folder / "2025/01/01/a.png") == 0o660
    restrict([images], PRIVATE)
    assert mode(images.folder / "2025/01/01/a.png") == 0o600


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    assert restrict([ProtectedPath(tmp_path / "none", own=".*")], PRIVATE).changed == 0


def test_a_file_that_may_not_be_changed_is_counted(images: ProtectedPath, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr("app.files.modes.os.fchmod", refuse)
    done = restrict([images], PRIVATE)
    assert done.changed == 0
    assert done.failed == len([images.folder, *images.folder.rglob("*")])
