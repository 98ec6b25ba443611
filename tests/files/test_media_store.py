"""What every media store holds to: the same tests for a folder and for buckets of two real S3 servers."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from app.files.folder_store import FolderStore
from app.files.images import encode_png
from app.files.media import encode_mp4, read_video_manifest, with_manifest
from app.files.media_store import AlreadyPublished, MediaStore
from app.files.metadata import read_manifest
from app.files.s3.reader import PIECE_BYTES
from tests.s3_service import store as s3_store
from tests.seaweedfs import SeaweedFS

PICTURE, SMALL = "2026/01/02/a.png", "2026/01/02/a.thumbnail.webp"
FILES = {PICTURE: b"picture", SMALL: b"thumb", "2026/02/03/b.mp4": b"clip"}
LARGE = bytes(range(256)) * (PIECE_BYTES // 256) + b"and some more" * 1000
BAD_NAMES = ["../a.png", "2026/../../a.png", "/etc/passwd", "a/\0.png", "", ".", "2026/..", "./.."]


def _folder(tmp_path: Path, _: pytest.FixtureRequest) -> MediaStore:
    return FolderStore(tmp_path / "images", tmp_path / "videos")


def _bucket(_: Path, request: pytest.FixtureRequest) -> MediaStore:
    server = request.getfixturevalue("s3_server")
    return s3_store(server.url, server.new_bucket())


def _prefix(_: Path, request: pytest.FixtureRequest) -> MediaStore:
    server = request.getfixturevalue("s3_server")
    return s3_store(server.url, server.new_bucket(), prefix="some/where/")


def _strict_bucket(_: Path, request: pytest.FixtureRequest) -> MediaStore:
    server = request.getfixturevalue("seaweedfs")
    return s3_store(server.url, server.new_bucket())


@pytest.fixture(params=[_folder, _bucket, _prefix, _strict_bucket], ids=["folder", "s3", "s3-prefix", "seaweedfs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> MediaStore:
    make: Callable[[Path, pytest.FixtureRequest], MediaStore] = request.param
    return make(tmp_path, request)


def names(store: MediaStore) -> set[str]:
    return set(store.older_than(-60.0))


def test_everything_published_is_there_and_nothing_else(store: MediaStore, tmp_path: Path) -> None:
    store.publish(FILES)
    assert names(store) == set(FILES)
    for name, data in FILES.items():
        assert store.read(name) == data
        assert store.size(name) == len(data)
        target = tmp_path / "copies" / name
        assert store.copy_to(name, target) == len(data)
        assert target.read_bytes() == data
        opened = store.open(name)
        with opened.content as file:
            assert (file.read(), opened.size) == (data, len(data))
        assert opened.modified > 1_700_000_000
    assert [path.name for path in tmp_path.rglob(".partial-*")] == []


def test_a_file_is_read_from_any_place_and_across_its_pieces(store: MediaStore) -> None:
    store.publish({PICTURE: LARGE})
    with store.open(PICTURE).content as file:
        file.seek(PIECE_BYTES - 10)
        assert file.read(50) == LARGE[PIECE_BYTES - 10 : PIECE_BYTES + 40]
        file.seek(-7, io.SEEK_END)
        assert (file.read(), file.read()) == (LARGE[-7:], b"")
        file.seek(3)
        assert file.tell() == 3
        assert file.read() == LARGE[3:]


def test_pictures_and_videos_are_read_where_they_are(store: MediaStore) -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    clip = with_manifest(encode_mp4([pixels] * 3, 4), "video/mp4", {"prompt": "waves"})
    store.publish({PICTURE: encode_png(pixels, {"cyberimage": '{"prompt": "a boat"}'}), "2026/02/03/b.mp4": clip})
    with store.open(PICTURE).content as file:
        assert read_manifest(file) == {"prompt": "a boat"}
    with store.open(PICTURE).content as file, Image.open(file) as picture:
        assert picture.convert("RGB").size == (16, 16)
    with store.open("2026/02/03/b.mp4").content as file:
        assert read_video_manifest(file) == {"prompt": "waves"}


def test_what_is_not_there_is_told(store: MediaStore, tmp_path: Path) -> None:
    for read in (store.open, store.read, lambda name: store.copy_to(name, tmp_path / "copy")):
        with pytest.raises(FileNotFoundError):
            read(PICTURE)
    assert store.size(PICTURE) is None
    assert not (tmp_path / "copy").exists()
    store.publish(FILES)
    with pytest.raises(FileNotFoundError):  # the folder of a date is no file
        store.read("2026/01/02")


def test_removing_twice_is_no_error(store: MediaStore) -> None:
    store.publish(FILES)
    for name in (PICTURE, PICTURE, "2026/09/09/never.png"):
        store.remove(name)
    assert names(store) == set(FILES) - {PICTURE}


def test_a_failure_leaves_nothing_and_does_not_take_what_was_there_before(store: MediaStore) -> None:
    store.publish({PICTURE: b"first"})
    with pytest.raises(AlreadyPublished):
        store.publish({SMALL: b"x", PICTURE: b"second"})
    assert names(store) == {PICTURE}
    assert store.read(PICTURE) == b"first"


def test_a_file_is_put_once(store: MediaStore, tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        source = tmp_path / f"{content.decode()}.bin"
        source.write_bytes(content)
        store.put_file(PICTURE, source)
    assert store.read(PICTURE) == b"one"


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_lead_outside_are_refused_everywhere(store: MediaStore, name: str, tmp_path: Path) -> None:
    for attempt in (
        store.remove,
        store.open,
        store.read,
        store.size,
        lambda name: store.copy_to(name, tmp_path / "copy"),
        lambda name: store.put_file(name, Path(__file__)),
        lambda name: store.publish({PICTURE: b"x", name: b"x"}),
    ):
        with pytest.raises(ValueError, match="not a path inside"):
            attempt(name)
    assert names(store) == set()


def test_old_files_are_told_from_new_ones(store: MediaStore) -> None:
    store.publish(FILES)
    assert set(store.older_than(3600.0)) == set()
    assert set(store.older_than(-60.0)) == set(FILES)


def test_a_store_that_works_has_no_problem(store: MediaStore) -> None:
    assert store.problem() is None
    assert store.problem(0.0) is None
    assert store.refusal() is None
    assert names(store) == set()  # what it tried out is gone
    free, used = store.free_bytes(), store.used_percent()
    assert (free is None) == (used is None)


def test_a_url_of_a_bucket_can_be_fetched_and_ends_with_its_signature(store: MediaStore) -> None:
    store.publish(FILES)
    url = store.url(PICTURE, 60, mime_type="image/png", download_name="boat.png")
    if url is None:
        assert isinstance(store, FolderStore)
        return
    answer = httpx.get(url)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"picture", "image/png")
    assert "boat.png" in answer.headers["content-disposition"]


def test_a_url_that_was_changed_is_refused(seaweedfs: SeaweedFS) -> None:
    bucket = s3_store(seaweedfs.url, seaweedfs.new_bucket())
    bucket.publish(FILES)
    url = bucket.url(PICTURE, 60, mime_type="image/png")
    assert url is not None
    assert httpx.get(url.replace("a.png", "a.thumbnail.webp")).status_code == 403
    assert httpx.get(url.replace("image%2Fpng", "text%2Fhtml")).status_code == 403
