"""Clean-up end to end, files and rows: by age, by count, by bytes; a dry run reports exactly what the real one does."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from app.cli.main import main
from app.config import load_settings
from app.core.request import GenerationInput
from app.errors import DatabaseUnavailable, Gone
from app.services.context import AppContext, open_context
from app.services.jobs.submit import submit
from app.services.media.publish import GenerationResult, Picture, publish
from app.services.ops.cleanup import DAY, clean_up
from app.store.db.schema import jobs, outputs
from app.store.ops.counters import Counter, totals


class Harness:
    """An installation with pictures of any age."""

    def __init__(self, folder: Path) -> None:
        self.places = {"database_url": f"sqlite:///{folder}/db", "images_dir": folder / "images", "disk_floor_bytes": 0}
        self.context = self.open()

    def open(self, **settings) -> AppContext:
        return open_context(load_settings({}, None, **self.places, **settings))

    def picture(self, days_ago: float, number: int = 1, side: int = 32) -> list[str]:
        """Create a job with `number` pictures. Returns their ids."""
        done = submit(self.context, GenerationInput(prompt="x"), client_id="c")
        claim = self.context.claims.claim("w")
        assert claim is not None
        pictures = [Picture(np.full((side, side, 3), 9, np.uint8), seed) for seed in range(number)]
        made = publish(self.context, claim, GenerationResult(pictures, {}, {}, {}))
        with self.context.database.write() as connection:
            ago = days_ago * DAY
            times = {"created_at": jobs.c.created_at - ago, "completed_at": jobs.c.completed_at - ago}
            connection.execute(update(jobs).where(jobs.c.id == done.job_id).values(**times))
            of_job = outputs.c.job_id == done.job_id
            connection.execute(update(outputs).where(of_job).values(created_at=outputs.c.created_at - ago))
        return [output.id for output in made]

    def files(self) -> int:
        return sum(path.is_file() for path in self.context.images.root.rglob("*"))

    def there(self, image_id: str) -> bool:
        try:
            return bool(self.context.outputs.get(image_id))
        except Gone:
            return False


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path)


def test_nothing_goes_unless_asked_for(harness: Harness) -> None:
    harness.picture(days_ago=5000)
    report = clean_up(harness.context)
    assert (report.images, report.jobs, report.freed_bytes) == (0, 0, 0)
    assert harness.files() == 2


def test_by_age_with_files_and_thumbnails(harness: Harness) -> None:
    (old,), (young,), (liked,) = (harness.picture(days) for days in (9, 2, 30))
    harness.context.outputs.mark(liked, favorite=True)
    kept = harness.open(retention_days=7)
    before = sum(path.stat().st_size for path in kept.images.root.rglob("*") if path.is_file())
    foretold = clean_up(kept, dry_run=True)
    assert harness.files() == 6
    report = clean_up(kept)
    assert (report.images, report.jobs) == (1, 1)
    assert vars(report) == vars(foretold) | {"dry_run": False}
    assert [harness.there(each) for each in (old, young, liked)] == [False, True, True]
    after = sum(path.stat().st_size for path in kept.images.root.rglob("*") if path.is_file())
    assert harness.files() == 4
    assert before - after == report.freed_bytes > 0
    assert clean_up(kept).images == 0


def test_by_count_the_oldest_go_favourites_count_and_stay(harness: Harness) -> None:
    ids = [harness.picture(days)[0] for days in (5, 4, 3, 2, 1)]
    harness.context.outputs.mark(ids[0], favorite=True)
    kept = harness.open(retention_max_images=3)
    assert clean_up(kept, dry_run=True).images == 2
    assert clean_up(kept).images == 2
    assert [harness.there(each) for each in ids] == [True, False, False, True, True]


def test_by_bytes(harness: Harness) -> None:
    ids = [harness.picture(days)[0] for days in (3, 2, 1)]
    each = harness.context.outputs.get(ids[0]).bytes
    assert clean_up(harness.open(retention_max_bytes=2 * each + 1)).images == 1
    assert [harness.there(image) for image in ids] == [False, True, True]


def test_a_job_goes_with_its_last_picture_only(harness: Harness) -> None:
    first, second = harness.picture(3, number=2)
    job_id = harness.context.outputs.get(first).job_id
    report = clean_up(harness.open(retention_max_images=1))
    assert (report.images, report.jobs) == (1, 0)
    assert len(harness.context.outputs.of_job(job_id)) == 1
    assert harness.there(first) != harness.there(second)


def test_age_and_count_together_are_foretold_without_counting_twice(harness: Harness) -> None:
    for days in (30, 20, 3, 2, 1):
        harness.picture(days, side=10 * days)
    kept = harness.open(retention_days=7, retention_max_images=2)
    foretold = clean_up(kept, dry_run=True)
    report = clean_up(kept)
    assert (report.images, report.jobs) == (foretold.images, foretold.jobs) == (3, 3)
    assert report.freed_bytes == foretold.freed_bytes


def test_favourites_beyond_the_limit_stay_and_nothing_turns_forever(harness: Harness) -> None:
    for image_id in [harness.picture(days)[0] for days in (3, 2)]:
        harness.context.outputs.mark(image_id, favorite=True)
    assert clean_up(harness.open(retention_max_images=1)).images == 0


def test_by_command(harness: Harness, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    harness.picture(9)
    settings = load_settings({}, None, **harness.places, retention_days=7)
    monkeypatch.setattr("app.cli.installation.load_settings", lambda: settings)
    assert main(["cleanup", "--dry-run"]) == 0
    assert "Would remove:\n  images                      1\n" in capsys.readouterr().out
    assert harness.files() == 2
    assert main(["cleanup"]) == 0
    assert "Removed:\n  images                      1\n" in capsys.readouterr().out
    assert harness.files() == 0


def test_by_command_with_a_database_that_cannot_be_opened(monkeypatch, tmp_path: Path, capsys) -> None:
    (tmp_path / "db").mkdir()
    settings = load_settings({}, None, database_url=f"sqlite:///{tmp_path}/db")
    monkeypatch.setattr("app.cli.installation.load_settings", lambda: settings)
    assert main(["cleanup"]) == 69
    assert "could not finish" in capsys.readouterr().err


def test_files_of_an_attempt_that_lost_its_lease_are_swept_within_the_hour_and_counted(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database was away when its worker committed, and its job was taken from it: only the sweep can tell."""
    context = harness.context
    submit(context, GenerationInput(prompt="x"), client_id="c")
    claim = context.claims.claim("first")
    assert claim is not None

    def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("Away.")

    result = GenerationResult([Picture(np.full((32, 32, 3), 9, np.uint8), 1)], {}, {}, {})
    with monkeypatch.context() as patched:
        patched.setattr(context.claims, "complete", away)
        patched.setattr("app.services.media.publish.time.monotonic", iter([0.0, 1e9]).__next__)
        with pytest.raises(DatabaseUnavailable):
            publish(context, claim, result)
    left = harness.files()
    context.claims.release(claim)
    again = context.claims.claim("second")
    assert again is not None
    publish(context, again, result)
    for path in context.images.root.rglob("*.*"):
        os.utime(path, times=(time.time() - 45 * 60,) * 2)
    report = clean_up(context)
    assert (left, report.orphans, harness.files()) == (2, 2, 2)
    with context.database.read() as connection:
        assert totals(connection)[Counter("removed", "", "orphan")] == 2.0
    assert context.outputs.totals()["count"] == 1


def test_no_file_is_swept_whose_commit_may_still_be_tried(harness: Harness) -> None:
    """A publication tries to commit for as long as a lease."""
    context = harness.open(lease_seconds=7200)
    harness.picture(0)
    with context.database.write() as connection:
        connection.execute(outputs.delete())
    for path in context.images.root.rglob("*.*"):
        os.utime(path, times=(time.time() - 7200,) * 2)
    assert clean_up(context).orphans == 0


def test_pictures_in_the_bin_have_a_time_of_their_own(harness: Harness) -> None:
    """A favourite of an old job is kept by its heart; in the bin it is kept for BIN_DAYS, not removed with its job."""
    (image,) = harness.picture(days_ago=11)
    context = harness.open(retention_days=10, bin_days=30)
    context.selections.mark([image], None, favorite=True)
    clean_up(context)
    context.selections.move_to_bin([image], None, "d" * 32)
    clean_up(context)
    assert context.selections.restore([image], None) == [image]
    context.close()
