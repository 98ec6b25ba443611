"""Files appear complete and synced or not at all, and never outside their folder."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.errors import MediaFull, MediaUnavailable, MediaUnreadable
from app.files import folder_store
from app.files.folder_store import FolderStore
from app.files.media_store import dated_name

FILES = {"2026/01/02/a.png": b"picture", "2026/01/02/a.thumbnail.webp": b"thumb", "2026/02/03/b.png": b"other"}


@pytest.fixture
def storage(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "images")


def files_under(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_everything_published_is_there_and_nothing_else(storage: FolderStore) -> None:
    storage.publish(FILES)
    assert files_under(storage.root) == set(FILES)
    assert all(storage.path(name).read_bytes() == data for name, data in FILES.items())


def test_data_reaches_the_disk_before_its_name_and_its_name_before_we_return(
    storage: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(descriptor: int) -> None:
        done.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
        real_fsync(descriptor)

    def rename(self: Path, target: Path) -> Path:
        assert ("sync", str(self)) in done, "renamed before its data was on the disk"
        done.append(("rename", str(target)))
        return real_rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    storage.publish({"2026/01/02/a.png": b"x"})
    folder = storage.root / "2026/01/02"
    assert done.index(("rename", str(folder / "a.png"))) < done.index(("sync", str(folder)))
    # A new date folder is a name too: without this a power cut could take it away with the picture in it.
    for parent in (storage.root / "2026/01", storage.root / "2026", storage.root, storage.root.parent):
        assert ("sync", str(parent)) in done, parent
    done.clear()
    storage.publish({"2026/01/02/b.png": b"x"})
    assert ("sync", str(storage.root)) not in done


def failing_write(fail_at: int, error: BaseException):
    """Replaces os.fsync: the `fail_at`th call raises."""
    calls = 0
    real = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == fail_at:
            raise error
        real(descriptor)

    return fsync


@pytest.mark.parametrize("fail_at", range(1, 12))
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_nothing_behind(
    storage: FolderStore, monkeypatch: pytest.MonkeyPatch, fail_at: int, number: int
) -> None:
    monkeypatch.setattr(os, "fsync", failing_write(fail_at, OSError(number, "no room")))
    with pytest.raises(MediaFull) as full:
        storage.publish(FILES)
    assert files_under(storage.root) == set()
    assert (full.value.code, full.value.transient) == ("disk_full", True)
    assert full.value.detail == f"The disk of {storage.root.name}/ is full. Free some space."  # also the last time


PASSING = ("EROFS", "EIO", "ESTALE", "EACCES", "EPERM", "ENOENT", "ENODEV", "EMFILE", "ETIMEDOUT", "ENOTCONN")


@pytest.mark.parametrize("name", PASSING)
@pytest.mark.parametrize("fail_at", [1, 6])
def test_a_disk_that_cannot_be_written_is_a_passing_fault_that_names_the_folder(
    storage: FolderStore, monkeypatch: pytest.MonkeyPatch, name: str, fail_at: int
) -> None:
    number = getattr(errno, name)
    monkeypatch.setattr(os, "fsync", failing_write(fail_at, OSError(number, os.strerror(number))))
    with pytest.raises(MediaUnavailable) as refused:
        storage.publish(FILES)
    assert files_under(storage.root) == set()
    assert (refused.value.code, refused.value.transient, refused.value.counted) == ("storage_unavailable", True, False)
    assert f"images: {os.strerror(number).lower()}" in refused.value.detail


def test_the_fault_is_told_though_the_rest_cannot_be_removed(
    storage: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "fsync", read_only)
    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(MediaUnavailable, match="read-only file system"):
        storage.publish(FILES)


def test_a_video_names_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = FolderStore(tmp_path / "images", tmp_path / "clips")
    monkeypatch.setattr(os, "fsync", failing_write(1, OSError(errno.EROFS, "")))
    with pytest.raises(MediaUnavailable, match="clips: read-only file system"):
        storage.publish({"2026/01/02/a.mp4": b"x", "2026/01/02/a.poster.webp": b"x"})


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt()])
@pytest.mark.parametrize("fail_at", [2, 6, 8])
def test_any_other_failure_leaves_nothing_behind_either(
    storage: FolderStore, monkeypatch: pytest.MonkeyPatch, error: BaseException, fail_at: int
) -> None:
    monkeypatch.setattr(os, "fsync", failing_write(fail_at, error))
    with pytest.raises(type(error)):
        storage.publish(FILES)
    assert files_under(storage.root) == set()


def test_a_full_disk_while_writing_the_data_leaves_nothing_behind(
    storage: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, data: bytes) -> None:
        path.write_bytes(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(folder_store, "_write_synced", write)
    with pytest.raises(MediaFull):
        storage.publish(FILES)
    assert files_under(storage.root) == set()


def test_a_failure_does_not_take_what_was_there_before(storage: FolderStore) -> None:
    storage.publish({"2026/01/02/a.png": b"first"})
    with pytest.raises(FileExistsError):
        storage.publish({"2026/01/02/new.png": b"x", "2026/01/02/a.png": b"second"})
    assert files_under(storage.root) == {"2026/01/02/a.png"}
    assert storage.path("2026/01/02/a.png").read_bytes() == b"first"


BAD_NAMES = ["../a.png", "2026/../../a.png", "/etc/passwd", "a/\0.png", "", ".", "2026/..", "./.."]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_lead_outside_are_refused_everywhere(storage: FolderStore, name: str) -> None:
    for attempt in (storage.path, storage.remove, lambda name: storage.publish({"ok.png": b"x", name: b"x"})):
        with pytest.raises(ValueError, match="not a path inside"):
            attempt(name)
    assert not storage.root.exists() or files_under(storage.root) == set()


def test_removing_twice_is_no_error(storage: FolderStore) -> None:
    storage.publish({"a.png": b"x"})
    storage.remove("a.png")
    storage.remove("a.png")
    storage.remove("never/there.png")
    assert files_under(storage.root) == set()


def test_old_files_are_found_temporary_ones_too(storage: FolderStore) -> None:
    storage.publish(FILES)
    for name in ("2026/01/02/a.png", "2026/01/02/.partial-1", "2026/.gitkeep"):
        path = storage.root / name
        path.touch()
        os.utime(path, (1.0, 1.0))
    assert set(storage.older_than(60)) == {"2026/01/02/a.png", "2026/01/02/.partial-1"}


def test_files_that_vanish_while_we_look_are_no_error(storage: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.publish(FILES)
    for name in FILES:
        os.utime(storage.path(name), (1.0, 1.0))
    seen = set()
    for name in storage.older_than(60):
        seen.add(name)
        for other in FILES:  # another process sweeps at the same time
            storage.remove(other)
    assert seen <= set(FILES)
    gone = storage.root / "gone.png"
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: iter([gone]))
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    assert list(storage.older_than(60)) == []


def test_free_space_is_known_before_the_folder_exists(storage: FolderStore) -> None:
    assert not storage.root.exists()
    assert storage.free_bytes() > 0


def test_names_carry_the_utc_date() -> None:
    assert dated_name("abc", ".png", datetime(2026, 3, 4, 23, 59, tzinfo=UTC)) == "2026/03/04/abc.png"
    assert dated_name("abc", ".png").endswith("/abc.png")


@pytest.mark.parametrize("name", ["EIO", "EACCES", "ESTALE"])
def test_a_file_that_its_disk_does_not_give_out_is_not_called_missing(
    storage: FolderStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    storage.publish(FILES)
    number = getattr(errno, name)

    def broken(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", broken)
    for read in (storage.open, storage.read):
        with pytest.raises(MediaUnreadable, match=os.strerror(number).lower()) as refused:
            read("2026/01/02/a.png")
        assert (refused.value.code, refused.value.status) == ("storage_unavailable", 503)
