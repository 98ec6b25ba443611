"""Pictures move between media stores, both ways, while others come and go; and are compared with their checksums."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.cli.main import main
from app.errors import MediaUnavailable
from app.files.folder_store import FolderStore
from app.files.media_store import MediaStore
from app.services.ops.backup import back_up
from app.services.ops.media_move import MediaReport, move, verify
from app.services.ops.orphans import ORPHAN_AGE_SECONDS
from tests.s3_service import FaultyProxy, S3Server, client
from tests.s3_service import store as s3_store
from tests.services.ops.test_cleanup import Harness

Copy = Callable[..., MediaReport]


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    return s3_server.new_bucket()


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path)


def copied(harness: Harness, target: MediaStore, *, remove: bool = False, progress: Any = lambda _: None):
    return move(harness.context, harness.context.images, target, remove=remove, progress=progress)


def names(store: MediaStore) -> set[str]:
    return set(store.older_than(-60.0))


def test_all_files_are_copied_once_and_removed_at_the_end(harness: Harness, s3_server: S3Server, bucket: str) -> None:
    for days in (3, 2, 1):
        harness.picture(days)
    target = s3_store(s3_server.url, bucket)
    before = names(harness.context.images)
    report = copied(harness, target)
    assert (report.pictures, report.copied, report.removed, report.is_whole) == (3, 6, 0, True)
    assert names(target) == before == names(harness.context.images)
    harness.picture(0)
    report = copied(harness, target, remove=True)
    assert (report.pictures, report.copied, report.removed, report.is_whole) == (4, 2, 8, True)
    assert names(harness.context.images) == set()
    assert len(names(target)) == 8


def test_a_move_that_was_interrupted_goes_on(
    harness: Harness, s3_server: S3Server, s3_proxy: FaultyProxy, bucket: str
) -> None:
    for days in (3, 2, 1):
        harness.picture(days)
    target = s3_store(s3_proxy.url, bucket, patience=0.0)

    def away_after_two(number: int) -> None:
        if number == 2:
            s3_proxy.away.set()

    with pytest.raises(MediaUnavailable):
        copied(harness, target, progress=away_after_two)
    assert len(s3_server.keys(bucket)) == 4
    report = copied(harness, s3_store(s3_server.url, bucket))
    assert (report.copied, report.is_whole) == (2, True)


def test_what_is_damaged_or_missing_is_told_and_not_removed(harness: Harness, s3_server: S3Server, bucket: str) -> None:
    outputs = [harness.context.outputs.get(harness.picture(days)[0]) for days in (3, 2, 1)]
    harness.context.images.path(outputs[0].path).write_bytes(b"something else")
    harness.context.images.remove(outputs[1].path)
    harness.context.images.remove(outputs[2].thumbnail_path)
    found = verify(harness.context, progress=lambda _: None)
    assert (found.pictures, found.changed) == (3, [outputs[0].path])
    assert set(found.missing) == {outputs[1].path, outputs[2].thumbnail_path}
    target = s3_store(s3_server.url, bucket)
    report = copied(harness, target, remove=True)
    assert (report.changed, set(report.missing)) == (found.changed, set(found.missing))
    assert names(harness.context.images) == {outputs[0].path}
    assert len(names(target)) == 3


def test_a_picture_that_is_deleted_meanwhile_is_not_missing(harness: Harness, s3_server: S3Server, bucket: str) -> None:
    first, second = (harness.picture(days)[0] for days in (2, 1))

    def delete(number: int) -> None:
        for image_id in (first, second):
            output = harness.context.outputs.get(image_id, binned=True) if number == 1 else None
            if output is not None:
                harness.context.outputs.remove(image_id)
                harness.context.images.remove(output.path)
                harness.context.images.remove(output.thumbnail_path)

    assert copied(harness, s3_store(s3_server.url, bucket), progress=delete).is_whole


def test_it_moves_back_to_a_folder(harness: Harness, s3_server: S3Server, bucket: str) -> None:
    harness.picture(1)
    target = s3_store(s3_server.url, bucket)
    before = {name: harness.context.images.read(name) for name in names(harness.context.images)}
    copied(harness, target)
    for name in before:
        harness.context.images.remove(name)
    report = move(harness.context, target, harness.context.images, remove=False, progress=lambda _: None)
    assert (report.copied, report.is_whole) == (2, True)
    assert {name: harness.context.images.read(name) for name in before} == before


def test_what_is_in_the_target_is_compared_before_the_original_is_removed(
    harness: Harness, s3_server: S3Server, bucket: str
) -> None:
    outputs = [harness.context.outputs.get(harness.picture(days)[0]) for days in (2, 1)]
    for name in (outputs[0].path, outputs[1].thumbnail_path):
        client(s3_server.url).put_object(Bucket=bucket, Key=name, Body=b"cut")
    report = copied(harness, s3_store(s3_server.url, bucket), remove=True)
    assert set(report.changed) == names(harness.context.images) == {outputs[0].path, outputs[1].thumbnail_path}


def test_a_damaged_object_is_told_and_stops_neither_a_move_nor_a_backup(
    harness: Harness, s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    outputs = [harness.context.outputs.get(harness.picture(days)[0]) for days in (3, 2, 1)]
    source = s3_store(s3_server.url, bucket)
    copied(harness, source)
    service = client(s3_server.url)
    about = service.head_object(Bucket=bucket, Key=outputs[1].path)["Metadata"]
    service.put_object(Bucket=bucket, Key=outputs[1].path, Body=b"x", Metadata=about)
    report = move(harness.context, source, FolderStore(tmp_path / "other"), remove=False, progress=lambda _: None)
    assert (report.pictures, report.copied, report.changed) == (3, 5, [outputs[1].path])
    assert back_up(replace(harness.context, images=source), tmp_path / "backup").files == 5


def test_what_was_deleted_since_is_removed_from_the_store_before(
    harness: Harness, s3_server: S3Server, bucket: str
) -> None:
    before, target = harness.context.images, s3_store(s3_server.url, bucket)
    gone, _ = harness.picture(3)[0], harness.picture(2)[0]
    copied(harness, target)
    output = harness.context.outputs.get(gone)
    harness.context.outputs.remove(gone)  # in the target alone, as the service does that uses it
    for name in (output.path, output.thumbnail_path):
        target.remove(name)
        old = time.time() - 2 * ORPHAN_AGE_SECONDS
        os.utime(before.path(name), (old, old))
    copied(harness, target, remove=True)
    assert names(before) == set()


def test_files_that_come_from_a_bucket_are_on_the_disk_before_they_leave_it(
    harness: Harness, s3_server: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.picture(1)
    source, synced, sync = s3_store(s3_server.url, bucket), [], os.fsync
    copied(harness, source)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # on the same disk, where files are linked

    def noted(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    move(harness.context, source, FolderStore(tmp_path / "other"), remove=True, progress=lambda _: None)
    assert sum(name.startswith(".partial-") for name in synced) == 2


@pytest.mark.parametrize("name", ["s3://{}/", "s3://{}//"])
def test_a_store_is_not_taken_for_another_by_its_spelling(
    harness: Harness, s3_server: S3Server, bucket: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.picture(1)
    copied(harness, s3_store(s3_server.url, bucket))
    for variable, value in (harness.places | s3_server.environment(bucket)).items():
        monkeypatch.setenv(variable.upper(), str(value))
    arguments = ["media", "move", "--from", name.format(bucket), "--to", f"s3://{bucket}", "--remove"]
    assert main(arguments) != 0
    assert len(s3_server.keys(bucket)) == 2


def test_the_command(
    harness: Harness,
    s3_server: S3Server,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (image_id,) = harness.picture(1)
    places = {name.upper(): str(value) for name, value in harness.places.items()}
    for name, value in (places | s3_server.environment(bucket) | {"MEDIA_STORE": "folder"}).items():
        monkeypatch.setenv(name, value)
    assert main(["media", "move", "--to", f"s3://{bucket}", "--remove"]) == 2
    assert "in use" in capsys.readouterr().err
    assert main(["media", "move", "--to", "s3://no-such-bucket"]) == 2
    assert "has no such bucket" in capsys.readouterr().err
    assert main(["media", "move", "--to", f"s3://{bucket}"]) == 0
    assert "1 pictures; 2 files copied" in capsys.readouterr().out
    monkeypatch.setenv("MEDIA_STORE", f"s3://{bucket}")
    assert main(["media", "move", "--from", "folder", "--to", f"s3://{bucket}", "--remove"]) == 0
    assert "0 files copied (0 bytes), 2 removed" in capsys.readouterr().out
    assert main(["media", "verify", "--json"]) == 0
    output = harness.context.outputs.get(image_id)
    s3_store(s3_server.url, bucket).remove(output.path)
    assert main(["media", "verify"]) == 65
    assert f"1 missing: {output.path}" in capsys.readouterr().out
