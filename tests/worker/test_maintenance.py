"""Maintenance: requeues jobs of dead workers, and removes only files left by failed publications."""

from __future__ import annotations

import hashlib
import logging
import threading
from pathlib import Path

import pytest

from app.core.job import JobStatus
from app.errors import DatabaseUnavailable
from app.services.media import gallery
from app.services.media.publish import GenerationResult, Picture, publish
from app.services.ops.maintenance import Maintenance
from app.services.ops.orphans import sweep_orphans
from tests.waiting import PATIENCE, wait_until
from tests.worker.fake_engine import FakeEngine, picture
from tests.worker.harness import Harness

EVERYTHING = -1.0  # seconds: even what was written this moment


def write(harness: Harness, name: str, content: bytes = b"something") -> Path:
    path = harness.context.images.path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def broken_publication(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the files of a job whose worker died between the rename and the commit."""
    harness.submit()
    claim = harness.context.claims.claim("a worker that dies")
    assert claim is not None

    def die(*_, **__):
        raise KeyboardInterrupt

    made = GenerationResult([Picture(picture(1).pixels, 1)], {}, {}, {})
    with monkeypatch.context() as patch:
        patch.setattr(harness.context.claims, "complete", die)
        with pytest.raises(KeyboardInterrupt):
            publish(harness.context, claim, made)


def test_files_of_a_failed_publication_are_swept(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_publication(harness, monkeypatch)
    write(harness, "2026/01/02/.partial-" + "0" * 32)
    assert len(harness.files()) == 3
    assert sweep_orphans(harness.context)[0] == 0  # it is young: a publication may be under way
    assert len(harness.files()) == 3
    assert sweep_orphans(harness.context, EVERYTHING)[0] == 3
    assert harness.files() == []


def test_published_pictures_stay(harness: Harness, engine: FakeEngine) -> None:
    harness.start(engine)
    harness.completed(harness.submit())
    before = harness.files()
    assert len(before) == 2
    assert sweep_orphans(harness.context, EVERYTHING)[0] == 0
    assert harness.files() == before


def test_foreign_files_stay(harness: Harness) -> None:
    for name in ("holiday.png", "2026/01/02/cat.png", "2026/01/02/notes.txt", f"{'a' * 32}.png", ".gitkeep"):
        write(harness, name)
    write(harness, f"2026/01/02/{hashlib.md5(b'x', usedforsecurity=False).hexdigest()}.png")  # ours only by its name
    assert sweep_orphans(harness.context, EVERYTHING)[0] == 0
    assert len(harness.files()) == 6


def test_pictures_of_another_database_stay(harness: Harness, engine: FakeEngine) -> None:
    """After a move to PostgreSQL, or a restored backup, files unknown to the database must not be deleted."""
    harness.start(engine)
    harness.completed(harness.submit())
    before = harness.files()
    elsewhere = harness.open(DATABASE_URL=f"sqlite:///{harness.folder / 'another.db'}")
    assert sweep_orphans(elsewhere, EVERYTHING)[0] == 0
    assert harness.files() == before


def test_files_of_a_failed_removal_are_swept(harness: Harness, engine: FakeEngine, monkeypatch) -> None:
    harness.start(engine)
    output = harness.completed(harness.submit()).outputs[0]
    with monkeypatch.context() as patch:
        patch.setattr(harness.context.images, "remove", lambda _: None)
        gallery.remove(harness.context, output.id)
    harness.context.images.remove(output.path)
    assert harness.files() == [output.thumbnail_path]
    assert sweep_orphans(harness.context, EVERYTHING)[0] == 1


@pytest.mark.usefixtures("hurried")
def test_it_continues_after_a_database_outage(new_harness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = new_harness(LEASE_SECONDS="0.5")
    job_id = harness.submit()
    assert harness.context.claims.claim("a worker that dies") is not None
    calls, expire_leases = [], harness.context.claims.expire_leases

    def away_at_first():
        calls.append(1)
        if len(calls) < 3:
            raise DatabaseUnavailable("Away.")
        return expire_leases()

    monkeypatch.setattr(harness.context.claims, "expire_leases", away_at_first)
    periodic_tasks = Maintenance(harness.context)
    periodic_tasks.start()
    wait_until(lambda: harness.view(job_id).job.status is JobStatus.PENDING, "the job was not rescued")
    assert harness.view(job_id).job.error_code == "worker_died"
    periodic_tasks.stop()
    periodic_tasks.join()


@pytest.mark.usefixtures("hurried")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_failing_or_endless_task_delays_no_lease_expiry(new_harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_) -> None:
        raise KeyError("a mistake")

    monkeypatch.setattr("app.services.ops.maintenance.clean_up", broken)
    harness = new_harness(LEASE_SECONDS="0.5")
    periodic_tasks = Maintenance(harness.context)
    periodic_tasks.start()
    threading.Thread.join(periodic_tasks, 30)
    assert not periodic_tasks.is_alive()
    job_id = harness.submit()
    assert harness.context.claims.claim("a worker that dies") is not None
    harness.until(job_id, lambda view: view.job.error_code == "worker_died")
    periodic_tasks.stop()
    periodic_tasks.join()


def test_of_several_processes_one_cleans_up(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.ops.maintenance.EXPIRE_EVERY_SECONDS", 0.05)
    done: list[object] = []
    monkeypatch.setattr("app.services.ops.maintenance.clean_up", done.append)
    monkeypatch.setattr("app.services.ops.maintenance.vacuum_and_analyze", done.append)
    periodic_tasks = [Maintenance(harness.open()) for _ in range(3)]
    for each in periodic_tasks:
        each.start()
    wait_until(lambda: len(done) >= 2, "no process did it")
    periodic_tasks[0].join(0.5)
    for each in periodic_tasks:
        each.stop()
        each.join()
    assert len(done) == 2  # each of the two chores, once


def test_retention_works_by_itself(new_harness, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.ops.maintenance.EXPIRE_EVERY_SECONDS", 0.05)
    harness = new_harness(RETENTION_MAX_IMAGES="1")
    harness.start(engine)
    for _ in range(3):
        harness.completed(harness.submit())
    with harness.context.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM chores")  # due again
    wait_until(lambda: harness.context.outputs.totals()["count"] == 1, "nothing was removed")
    wait_until(lambda: len(harness.files()) == 2, "the files stayed")


def test_low_memory_is_logged_at_intervals(new_harness, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    harness = new_harness(MEMORY_ALERT_PERCENT="80")
    monkeypatch.setattr(logging.getLogger("cyberimage"), "propagate", True)
    used = iter([79.0, 80.0, 95.0, 96.0])
    monkeypatch.setattr("app.services.ops.maintenance.memory_percent", lambda: next(used))
    several = [Maintenance(harness.context), Maintenance(harness.context)]
    for periodic_tasks in several * 2:
        periodic_tasks._watch_memory()
    logged = [record.getMessage() for record in caplog.records if "memory" in record.getMessage()]
    assert logged == ["80 % of the memory is in use (MEMORY_ALERT_PERCENT is 80)"]


def test_no_memory_alert_when_disabled(new_harness, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    harness = new_harness(MEMORY_ALERT_PERCENT="0")
    monkeypatch.setattr(logging.getLogger("cyberimage"), "propagate", True)
    monkeypatch.setattr("app.services.ops.maintenance.memory_percent", lambda: 99.0)
    Maintenance(harness.context)._watch_memory()
    assert not caplog.records


def test_the_interval_of_clean_ups_is_a_setting(new_harness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = new_harness(CLEANUP_INTERVAL_SECONDS="1234")
    asked: dict[str, float] = {}

    def take(name: str, every: float) -> bool:
        asked[name] = every
        return False

    monkeypatch.setattr("app.services.ops.maintenance.EXPIRE_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(harness.context.periodic_tasks, "take", take)
    maintenance = Maintenance(harness.context)
    maintenance.start()
    wait_until(lambda: "clean up" in asked, "no clean-up was due")
    maintenance.stop()
    maintenance.join(PATIENCE)
    assert asked["clean up"] == 1234
