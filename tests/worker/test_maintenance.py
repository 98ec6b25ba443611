"""The chores: jobs of silent workers are rescued; of all files, only what a broken publication left is removed."""

from __future__ import annotations

import hashlib
import logging
import threading
from pathlib import Path

import pytest

from app.core.job import JobStatus
from app.errors import DatabaseUnavailable
from app.services.media import gallery
from app.services.media.publish import Made, Picture, publish
from app.services.ops.maintenance import Maintenance
from app.services.ops.orphans import sweep_orphans
from tests.waiting import wait_until
from tests.worker.fake_engine import FakeEngine, picture
from tests.worker.harness import Place

EVERYTHING = -1.0  # seconds: even what was written this moment


def write(place: Place, name: str, content: bytes = b"something") -> Path:
    path = place.installation.images.path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def broken_publication(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the files of a job whose worker died between the rename and the commit."""
    place.submit()
    claim = place.installation.claims.claim("a worker that dies")
    assert claim is not None

    def die(*_, **__):
        raise KeyboardInterrupt

    made = Made([Picture(picture(1).pixels, 1)], {}, {}, {})
    with monkeypatch.context() as patch:
        patch.setattr(place.installation.claims, "complete", die)
        with pytest.raises(KeyboardInterrupt):
            publish(place.installation, claim, made)


def test_what_a_broken_publication_left_is_swept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_publication(place, monkeypatch)
    write(place, "2026/01/02/.partial-" + "0" * 32)
    assert len(place.files()) == 3
    assert sweep_orphans(place.installation)[0] == 0  # it is young: a publication may be under way
    assert len(place.files()) == 3
    assert sweep_orphans(place.installation, EVERYTHING)[0] == 3
    assert place.files() == []


def test_published_pictures_stay(place: Place, engine: FakeEngine) -> None:
    place.start(engine)
    place.completed(place.submit())
    before = place.files()
    assert len(before) == 2
    assert sweep_orphans(place.installation, EVERYTHING)[0] == 0
    assert place.files() == before


def test_what_somebody_else_put_there_stays(place: Place) -> None:
    for name in ("holiday.png", "2026/01/02/cat.png", "2026/01/02/notes.txt", f"{'a' * 32}.png", ".gitkeep"):
        write(place, name)
    write(place, f"2026/01/02/{hashlib.md5(b'x', usedforsecurity=False).hexdigest()}.png")  # ours only by its name
    assert sweep_orphans(place.installation, EVERYTHING)[0] == 0
    assert len(place.files()) == 6


def test_pictures_of_another_database_stay(place: Place, engine: FakeEngine) -> None:
    """Somebody moves from SQLite to PostgreSQL, or restores last week's backup: the gallery must not melt away."""
    place.start(engine)
    place.completed(place.submit())
    before = place.files()
    elsewhere = place.open(DATABASE_URL=f"sqlite:///{place.folder / 'another.db'}")
    assert sweep_orphans(elsewhere, EVERYTHING)[0] == 0
    assert place.files() == before


def test_what_a_broken_removal_left_is_swept(place: Place, engine: FakeEngine, monkeypatch) -> None:
    place.start(engine)
    output = place.completed(place.submit()).outputs[0]
    with monkeypatch.context() as patch:
        patch.setattr(place.installation.images, "remove", lambda _: None)
        gallery.remove(place.installation, output.id)
    place.installation.images.remove(output.path)
    assert place.files() == [output.thumbnail_path]
    assert sweep_orphans(place.installation, EVERYTHING)[0] == 1


@pytest.mark.usefixtures("hurried")
def test_it_goes_on_after_the_database_was_away(new_place, monkeypatch: pytest.MonkeyPatch) -> None:
    place = new_place(LEASE_SECONDS="0.5")
    job_id = place.submit()
    assert place.installation.claims.claim("a worker that dies") is not None
    calls, rescue = [], place.installation.claims.rescue

    def away_at_first():
        calls.append(1)
        if len(calls) < 3:
            raise DatabaseUnavailable("Away.")
        return rescue()

    monkeypatch.setattr(place.installation.claims, "rescue", away_at_first)
    chores = Maintenance(place.installation)
    chores.start()
    wait_until(lambda: place.view(job_id).job.status is JobStatus.PENDING, "the job was not rescued")
    assert place.view(job_id).job.error_code == "worker_died"
    chores.stop()
    chores.join()


@pytest.mark.usefixtures("hurried")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_chore_that_breaks_or_takes_for_ever_holds_up_no_rescue(new_place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_) -> None:
        raise KeyError("a mistake")

    monkeypatch.setattr("app.services.ops.maintenance.clean_up", broken)
    place = new_place(LEASE_SECONDS="0.5")
    chores = Maintenance(place.installation)
    chores.start()
    threading.Thread.join(chores, 30)
    assert not chores.is_alive()
    job_id = place.submit()
    assert place.installation.claims.claim("a worker that dies") is not None
    place.until(job_id, lambda view: view.job.error_code == "worker_died")
    chores.stop()
    chores.join()


def test_of_several_processes_one_cleans_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.ops.maintenance.RESCUE_EVERY_SECONDS", 0.05)
    done: list[object] = []
    monkeypatch.setattr("app.services.ops.maintenance.clean_up", done.append)
    monkeypatch.setattr("app.services.ops.maintenance.look_after", done.append)
    chores = [Maintenance(place.open()) for _ in range(3)]
    for each in chores:
        each.start()
    wait_until(lambda: len(done) >= 2, "nobody did it")
    chores[0].join(0.5)
    for each in chores:
        each.stop()
        each.join()
    assert len(done) == 2  # each of the two chores, once


def test_retention_works_by_itself(new_place, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.ops.maintenance.RESCUE_EVERY_SECONDS", 0.05)
    place = new_place(RETENTION_MAX_IMAGES="1")
    place.start(engine)
    for _ in range(3):
        place.completed(place.submit())
    with place.installation.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM chores")  # due again
    wait_until(lambda: place.installation.outputs.totals()["count"] == 1, "nothing was removed")
    wait_until(lambda: len(place.files()) == 2, "the files stayed")


def test_short_memory_is_told_once_in_a_while(new_place, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    place = new_place(MEMORY_ALERT_PERCENT="80")
    monkeypatch.setattr(logging.getLogger("cyberimage"), "propagate", True)
    used = iter([79.0, 80.0, 95.0, 96.0])
    monkeypatch.setattr("app.services.ops.maintenance.memory_percent", lambda: next(used))
    several = [Maintenance(place.installation), Maintenance(place.installation)]
    for chores in several * 2:
        chores._watch_memory()
    told = [record.getMessage() for record in caplog.records if "memory" in record.getMessage()]
    assert told == ["80 % of the memory is in use (MEMORY_ALERT_PERCENT is 80)"]


def test_no_alert_where_none_is_wanted(new_place, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    place = new_place(MEMORY_ALERT_PERCENT="0")
    monkeypatch.setattr(logging.getLogger("cyberimage"), "propagate", True)
    monkeypatch.setattr("app.services.ops.maintenance.memory_percent", lambda: 99.0)
    Maintenance(place.installation)._watch_memory()
    assert not caplog.records
