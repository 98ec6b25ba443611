"""The doorbell wakes whoever listens, loses nothing that matters, and never stands in the way."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from app.errors import ConfigurationError
from app.store.db import notify
from app.store.db.database import Database
from app.store.db.notify import Doorbell, LocalDoorbell, open_doorbell

SOON, NOW = 5.0, 0.05


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What takes the place of /tmp; not pytest's own folder, whose name is too long for a socket."""
    folder = tempfile.mkdtemp(prefix="bell")
    monkeypatch.setattr(tempfile, "tempdir", folder)
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bell(database: Database, folder: Path) -> Doorbell:
    return open_doorbell(database.url)


def test_everybody_who_listens_to_the_topic_hears_and_nobody_else(bell: Doorbell) -> None:
    first, second, other = bell.listen("news"), bell.listen("news"), bell.listen("work")
    for listener in (first, second, other):
        assert listener.wait(NOW) is None
    bell.ring("news", "job-1")
    assert first.wait(SOON) == "job-1"
    assert second.wait(SOON) == "job-1"
    assert other.wait(NOW) is None
    for listener in (first, second, other):
        listener.close()


def test_rings_that_come_together_are_all_heard_in_their_order(bell: Doorbell) -> None:
    listener = bell.listen("news")
    listener.wait(NOW)
    for number in range(5):
        bell.ring("news", str(number))
    assert [listener.wait(SOON) for _ in range(5)] == list("01234")
    assert listener.wait(NOW) is None
    listener.close()


def test_ringing_without_listeners_and_after_they_left_is_no_error(bell: Doorbell) -> None:
    bell.ring("work")
    listener = bell.listen("work")
    listener.wait(NOW)
    listener.close()
    bell.ring("work")


def test_a_listener_that_never_looks_does_not_hold_up_who_rings(bell: Doorbell) -> None:
    listener = bell.listen("news")
    listener.wait(NOW)
    for number in range(2000):
        bell.ring("news", str(number))
    assert listener.wait(SOON) == "0"
    listener.close()


def test_the_socket_of_a_dead_listener_is_tidied_up(folder: Path, tmp_path: Path) -> None:
    bell = LocalDoorbell(tmp_path / "queue.db")
    bell.listen("work")._socket.close()  # type: ignore[attr-defined]
    assert len(list(folder.rglob("work-*"))) == 1
    bell.ring("work")
    assert list(folder.rglob("work-*")) == []


def test_a_folder_that_was_tidied_away_is_made_again(folder: Path, tmp_path: Path) -> None:
    bell = LocalDoorbell(tmp_path / "queue.db")
    for ours in folder.glob("cyberimage-*"):
        ours.rmdir()
    bell.ring("work")
    listener = bell.listen("work")
    bell.ring("work", "again")
    assert listener.wait(SOON) == "again"
    listener.close()


def test_a_temporary_folder_with_a_long_name_does_not_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 100)))
    bell = LocalDoorbell(tmp_path / "queue.db")
    listener = bell.listen("work")
    bell.ring("work", "heard")
    assert listener.wait(SOON) == "heard"
    listener.close()


def test_two_databases_have_two_doorbells(tmp_path: Path) -> None:
    listener = LocalDoorbell(tmp_path / "a.db").listen("work")
    LocalDoorbell(tmp_path / "b.db").ring("work")
    assert listener.wait(NOW) is None
    LocalDoorbell(tmp_path / "a.db").ring("work", "x")
    assert listener.wait(SOON) == "x"
    listener.close()


def test_after_broken_connections_it_rings_again(postgres_database: Database) -> None:
    bell = open_doorbell(postgres_database.url)
    listener = bell.listen("news")
    bell.ring("news")
    listener.wait(NOW)
    dsn = postgres_database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn, autocommit=True) as admin:
        ringing = "FROM pg_stat_activity WHERE query LIKE '%cyberimage_news%' AND pid <> pg_backend_pid()"
        admin.execute(f"SELECT pg_terminate_backend(pid) {ringing}")
    bell.ring("news", "lost")  # a hint may be lost, but nothing is raised
    while listener.wait(NOW) is not None:
        pass
    listener.wait(NOW)  # connects again
    bell.ring("news", "heard")
    assert listener.wait(SOON) == "heard"
    listener.close()


def test_without_a_database_it_is_silent(postgres_url: str) -> None:
    bell = open_doorbell(make_url(postgres_url).set(database="nowhere"))
    bell.ring("work")
    listener = bell.listen("work")
    assert listener.wait(NOW) is None
    listener.close()


@pytest.mark.parametrize("taken", ["another user", "a file", "a link"])
def test_a_folder_that_is_not_ours_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str) -> None:
    other, place = os.getuid() + 1, tmp_path / "t"
    place.mkdir()
    monkeypatch.setattr(notify, "_short_temporary_folder", lambda: place)
    monkeypatch.setattr(os, "getuid", lambda: other)
    digest = hashlib.sha256(str(tmp_path / "db.sqlite").encode()).hexdigest()[:16]
    folder = place / f"cyberimage-{other}-{digest}"
    if taken == "another user":
        folder.mkdir()
    elif taken == "a file":
        folder.write_text("")
    else:
        folder.symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match="TMPDIR"):
        LocalDoorbell(tmp_path / "db.sqlite")


def test_a_folder_that_somebody_else_made_meanwhile_is_left_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bell = LocalDoorbell(tmp_path / "db.sqlite")
    monkeypatch.setattr(os, "getuid", lambda: -1)
    listener = bell.listen("work")
    bell.ring("work")
    assert listener.wait(0.01) is None
    listener.close()
