"""The probe of the media folders: whether a file can be written there, and why not."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from app.files import probe as probe_module
from app.files.probe import LEAST_FREE_BYTES, FolderProbe, Probe
from tests.files.test_folder_store import failing_write, files_under
from tests.waiting import PATIENCE


def test_a_folder_that_can_be_written_has_no_problem_and_keeps_no_file(tmp_path: Path) -> None:
    probe = FolderProbe([tmp_path / "images", tmp_path / "videos"])
    assert probe.problem() is None
    assert files_under(tmp_path) == set()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO, errno.ESTALE, errno.EACCES])
def test_the_folder_and_the_reason_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    probe = FolderProbe([tmp_path / "images", tmp_path / "videos"])
    monkeypatch.setattr(os, "fsync", failing_write(2, OSError(number, "")))
    assert probe.problem() == f"videos: {os.strerror(number).lower()}"
    assert files_under(tmp_path) == set()


def test_a_folder_that_is_no_folder_any_more(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("")
    assert FolderProbe([tmp_path / "images"]).problem() == "images: not a directory"


@pytest.mark.parametrize("free", [0, LEAST_FREE_BYTES - 1])
def test_a_full_disk_is_a_problem_though_a_small_file_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    monkeypatch.setattr(probe_module, "free_bytes", lambda _: free)
    assert FolderProbe([tmp_path / "images"]).problem() == "images: no space left on device"


def test_a_result_is_used_again_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    probe = FolderProbe([tmp_path / "images"], clock=lambda: now[0])
    assert probe.problem() is None
    (tmp_path / "images").rmdir()
    (tmp_path / "images").write_text("")
    assert probe.problem() is None
    assert probe.problem(max_age=0.0) is not None
    (tmp_path / "images").unlink()
    assert probe.problem() is not None
    now[0] += probe_module.MAX_AGE_SECONDS + 0.1
    assert probe.problem() is None


def test_who_asks_while_a_probe_hangs_gets_the_last_result() -> None:
    looking, go_on = threading.Event(), threading.Event()
    said = iter(["the first", "the second"])

    def look() -> str:
        problem = next(said)
        if problem == "the second":
            looking.set()
            assert go_on.wait(PATIENCE)
        return problem

    now = [0.0]
    probe = Probe(look, clock=lambda: now[0])
    assert probe.problem(2.0) == "the first"
    now[0] = 5.0
    found: list[str | None] = []
    hanging = threading.Thread(target=lambda: found.append(probe.problem(2.0)))
    hanging.start()
    assert looking.wait(PATIENCE)
    assert probe.problem(2.0) == "the first"
    go_on.set()
    hanging.join(PATIENCE)
    assert found == ["the second"]
    assert probe.problem(2.0) == "the second"


def test_a_good_result_counts_longer_but_not_when_a_new_one_is_asked_for() -> None:
    now, said = [0.0], iter([None, "away", None])
    probe = Probe(lambda: next(said), clock=lambda: now[0], healthy_seconds=15.0)
    assert probe.problem(2.0) is None
    now[0] = 10.0
    assert probe.problem(2.0) is None
    assert probe.problem(0.0) == "away"
    now[0] = 11.0
    assert probe.problem(2.0) == "away"
    now[0] = 12.0
    assert probe.problem(2.0) is None
