"""Videos are published, listed, swept, removed and backed up like pictures, in a separate folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.config import load_settings
from app.core.output import Output
from app.core.request import GenerationInput
from app.files.media import read_video, read_video_manifest
from app.services.context import AppContext, open_context
from app.services.jobs.submit import submit
from app.services.media import gallery
from app.services.media.publish import Clip, GenerationResult, publish
from app.services.ops.backup import back_up, restore
from app.services.ops.cleanup import clean_up
from app.services.ops.orphans import sweep_orphans
from tests.providers import media


class Harness:
    def __init__(self, folder: Path, **settings: object) -> None:
        self.videos = folder / "videos"
        places = {"database_url": f"sqlite:///{folder}/db", "images_dir": folder / "images", "videos_dir": self.videos}
        self.context: AppContext = open_context(load_settings({}, None, **places, disk_floor_bytes=0, **settings))

    def video(self, kind: str = "mp4") -> Output:
        submit(self.context, GenerationInput(prompt="waves"), client_id="c")
        claim = self.context.claims.claim("w")
        assert claim is not None
        content = media.video(kind)
        clip = Clip(content, f"video/{kind}", read_video(content).poster, 7, {"fps": 8.0})
        return publish(self.context, claim, GenerationResult([], {}, {}, {}, clips=[clip]))[0]

    def files(self) -> set[str]:
        return {path.relative_to(self.videos).as_posix() for path in self.videos.rglob("*") if path.is_file()}


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    made = Harness(tmp_path)
    yield made
    made.context.close()


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_it_is_there_with_its_manifest_and_can_be_removed(harness: Harness, kind: str) -> None:
    output = harness.video(kind)
    assert harness.files() == {output.path, output.thumbnail_path}
    file = harness.context.images.path(output.path)
    inside = read_video_manifest(str(file))
    assert inside is not None
    assert (inside["prompt"], inside["image_id"], inside["video"]) == ("waves", output.id, {"fps": 8.0})
    assert output.bytes == file.stat().st_size
    assert np.array_equal(read_video(file.read_bytes()).poster, read_video(media.video(kind)).poster)
    gallery.remove(harness.context, output.id)
    assert harness.files() == set()


def test_retention_takes_both_files(tmp_path: Path) -> None:
    harness = Harness(tmp_path, retention_max_images=1)
    harness.video()
    kept = harness.video()
    assert clean_up(harness.context).images == 1
    assert harness.files() == {kept.path, kept.thumbnail_path}


def test_what_a_broken_publication_left_is_swept_and_strangers_stay(harness: Harness) -> None:
    kept, lost = harness.video(), harness.video("webm")
    harness.context.outputs.remove(lost.id)
    folder = harness.context.images.path(kept.path).parent
    (folder / f".partial-{'0' * 32}.mp4").write_bytes(b"half")
    (folder / "mine.mp4").write_bytes(b"another file")
    (folder / f"{'1' * 32}.mp4").write_bytes(media.video())  # of another installation: no manifest of ours
    hour_ago = time.time() - 7200
    for path in harness.videos.rglob("*"):
        os.utime(path, (hour_ago, hour_ago))
    count, _ = sweep_orphans(harness.context)
    assert count == 3
    left = {path.rpartition("/")[2] for path in harness.files()}
    assert left == {*(Path(name).name for name in (kept.path, kept.thumbnail_path)), "mine.mp4", f"{'1' * 32}.mp4"}


def test_there_and_back(harness: Harness, tmp_path: Path) -> None:
    output = harness.video()
    back_up(harness.context, tmp_path / "backup")
    whole = gallery.read_file(harness.context, output)
    for name in (output.path, output.thumbnail_path):
        harness.context.images.remove(name)
    _, missing = restore(harness.context, tmp_path / "backup")
    assert missing == 0
    assert gallery.read_file(harness.context, output) == whole
