"""Notifications wake all subscribers, may be lost without harm, and never block."""

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
from app.store.db.notify import LocalNotifier, Notifier, open_notifier

SOON, NOW = 5.0, 0.05


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Replaces /tmp; pytest's folder has a name too long for a socket."""
    folder = tempfile.mkdtemp(prefix="bell")
    monkeypatch.setattr(tempfile, "tempdir", folder)
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def notifications(database: Database, folder: Path) -> Notifier:
    return open_notifier(database.url)


def test_all_subscribers_of_the_topic_and_no_others_are_notified(notifications: Notifier) -> None:
    first, second, other = (
        notifications.subscribe("news"),
        notifications.subscribe("news"),
        notifications.subscribe("work"),
    )
    for listener in (first, second, other):
        assert listener.wait(NOW) is None
    notifications.publish("news", "job-1")
    assert first.wait(SOON) == "job-1"
    assert second.wait(SOON) == "job-1"
    assert other.wait(NOW) is None
    for listener in (first, second, other):
        listener.close()


def test_rings_that_come_together_are_all_heard_in_their_order(notifications: Notifier) -> None:
    listener = notifications.subscribe("news")
    listener.wait(NOW)
    for number in range(5):
        notifications.publish("news", str(number))
    assert [listener.wait(SOON) for _ in range(5)] == list("01234")
    assert listener.wait(NOW) is None
    listener.close()


def test_ringing_without_listeners_and_after_they_left_is_no_error(notifications: Notifier) -> None:
    notifications.publish("work")
    listener = notifications.subscribe("work")
    listener.wait(NOW)
    listener.close()
    notifications.publish("work")


def test_a_subscriber_that_never_reads_does_not_block_the_publisher(notifications: Notifier) -> None:
    listener = notifications.subscribe("news")
    listener.wait(NOW)
    for number in range(2000):
        notifications.publish("news", str(number))
    assert listener.wait(SOON) == "0"
    listener.close()


def test_the_socket_of_a_dead_listener_is_tidied_up(folder: Path, tmp_path: Path) -> None:
    notifications = LocalNotifier(tmp_path / "queue.db")
    notifications.subscribe("work")._socket.close()  # type: ignore[attr-defined]
    assert len(list(folder.rglob("work-*"))) == 1
    notifications.publish("work")
    assert list(folder.rglob("work-*")) == []


def test_a_folder_that_was_tidied_away_is_made_again(folder: Path, tmp_path: Path) -> None:
    notifications = LocalNotifier(tmp_path / "queue.db")
    for ours in folder.glob("cyberimage-*"):
        ours.rmdir()
    notifications.publish("work")
    listener = notifications.subscribe("work")
    notifications.publish("work", "again")
    assert listener.wait(SOON) == "again"
    listener.close()


def test_a_temporary_folder_with_a_long_name_does_not_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 100)))
    notifications = LocalNotifier(tmp_path / "queue.db")
    listener = notifications.subscribe("work")
    notifications.publish("work", "heard")
    assert listener.wait(SOON) == "heard"
    listener.close()


def test_two_databases_have_two_doorbells(tmp_path: Path) -> None:
    listener = LocalNotifier(tmp_path / "a.db").subscribe("work")
    LocalNotifier(tmp_path / "b.db").publish("work")
    assert listener.wait(NOW) is None
    LocalNotifier(tmp_path / "a.db").publish("work", "x")
    assert listener.wait(SOON) == "x"
    listener.close()


def test_after_broken_connections_it_rings_again(postgres_database: Database) -> None:
    notifications = open_notifier(postgres_database.url)
    listener = notifications.subscribe("news")
    notifications.publish("news")
    listener.wait(NOW)
    dsn = postgres_database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn, autocommit=True) as admin:
        ringing = "FROM pg_stat_activity WHERE query LIKE '%cyberimage_news%' AND pid <> pg_backend_pid()"
        admin.execute(f"SELECT pg_terminate_backend(pid) {ringing}")
    notifications.publish("news", "lost")  # a hint may be lost, but nothing is raised
    while listener.wait(NOW) is not None:
        pass
    listener.wait(NOW)  # connects again
    notifications.publish("news", "heard")
    assert listener.wait(SOON) == "heard"
    listener.close()


def test_without_a_database_it_is_silent(postgres_url: str) -> None:
    notifications = open_notifier(make_url(postgres_url).set(database="nowhere"))
    notifications.publish("work")
    listener = notifications.subscribe("work")
    assert listener.wait(NOW) is None
    listener.close()


@pytest.mark.parametrize("taken", ["another user", "a file", "a link"])
def test_a_folder_that_is_not_ours_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str) -> None:
    other, harness = os.getuid() + 1, tmp_path / "t"
    harness.mkdir()
    monkeypatch.setattr(notify, "_short_temporary_folder", lambda: harness)
    monkeypatch.setattr(os, "getuid", lambda: other)
    digest = hashlib.sha256(str(tmp_path / "db.sqlite").encode()).hexdigest()[:16]
    folder = harness / f"cyberimage-{other}-{digest}"
    if taken == "another user":
        folder.mkdir()
    elif taken == "a file":
        folder.write_text("")
    else:
        folder.symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match="TMPDIR"):
        LocalNotifier(tmp_path / "db.sqlite")


def test_a_folder_of_another_user_is_not_used(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notifications = LocalNotifier(tmp_path / "db.sqlite")
    monkeypatch.setattr(os, "getuid", lambda: -1)
    listener = notifications.subscribe("work")
    notifications.publish("work")
    assert listener.wait(0.01) is None
    listener.close()
