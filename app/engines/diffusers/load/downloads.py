"""Fetch files of a hub repo so that a cut costs nothing: what came stays, and the next run goes on where it broke off.

huggingface_hub writes each file under a name of its own and throws it away unless it comes whole: a cancel would cost
gigabytes. So the bytes are fetched here, into `blobs/<etag>.partial` of its cache, and named `<etag>` when they are all
there; the library then finds its blobs and only links them. Which files are wanted is not decided here.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import huggingface_hub.utils
from diffusers.pipelines import pipeline_utils
from huggingface_hub import (
    DryRunFileInfo,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    snapshot_download,
)
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import WeakFileLock, build_hf_headers

from app.engines.base import Control
from app.engines.diffusers.load.errors import DOWNLOAD_ERRORS
from app.engines.diffusers.load.hub_names import plain_names_only
from app.engines.diffusers.load.log import log
from app.errors import Cancelled, GenerationError, LoraUnavailable, ModelDownloadFailed, StorageFull
from app.files.hub_cache import PARTIAL

_AT_ONCE = 4  # files
_CHUNK_BYTES = 2**20  # what a cut may cost, of each; the library would gather ten times as much
_LOOK_SECONDS = 0.2
_STOP_SECONDS = 2.0  # for the threads to write what they hold; one that waits for the network is left behind
_SHA256_DIGITS = 64


@dataclass(frozen=True)
class _File:
    """One file that is wanted, of `size` bytes; several names may share a blob."""

    name: str
    url: str
    size: int
    blob: Path

    @property
    def partial(self) -> Path:
        return self.blob.with_name(self.blob.name + PARTIAL)

    def bytes_here(self) -> int:
        for path in (self.blob, self.partial):
            try:
                return min(path.stat().st_size, self.size)
            except FileNotFoundError:
                continue
        return 0


@contextmanager
def resumable_downloads(control: Control, disk_floor_bytes: int) -> Iterator[None]:
    """Have diffusers, which alone knows which files of a repo a pipeline needs, download them through this module.

    It takes neither a callback nor a way to stop; so the function that it calls with its list of files is replaced
    while this lasts. Cancelled and StorageFull may come out of it too.
    """
    huggingface_hub.utils.disable_progress_bars()  # `control` is told instead

    def download(repo: str, **asked: Any) -> str:
        if not asked.get("local_files_only"):
            _fetch(repo, snapshot_download(repo, **asked, dry_run=True), control, disk_floor_bytes)
        return str(snapshot_download(repo, **asked))

    plain, pipeline_utils.snapshot_download = pipeline_utils.snapshot_download, download
    constants.DOWNLOAD_CHUNK_SIZE = _CHUNK_BYTES
    try:
        with plain_names_only():
            yield
    finally:
        pipeline_utils.snapshot_download = plain


def fetch_file(repo: str, name: str, control: Control, disk_floor_bytes: int, most_bytes: int) -> Path:
    """One file of a repo, on this machine now. Told, cancelled and taken up again as a model is. Raises Cancelled,
    StorageFull, ModelDownloadFailed, LoraUnavailable for one that is too large, or what huggingface_hub raises."""
    constants.DOWNLOAD_CHUNK_SIZE = _CHUNK_BYTES
    with plain_names_only():
        wanted = hf_hub_download(repo, name, dry_run=True)
        require_size(f"{repo}/{name}", wanted.file_size or 0, most_bytes)
        _fetch(repo, [wanted], control, disk_floor_bytes)
        return Path(hf_hub_download(repo, name))


def require_size(name: str, size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise LoraUnavailable(f"{name} has {size:,} bytes; at most {most_bytes:,} are downloaded (LORA_MAX_BYTES).")


def _fetch(repo: str, wanted: Sequence[DryRunFileInfo], control: Control, disk_floor_bytes: int) -> None:
    files = [_describe(repo, each) for each in wanted if each.will_download and _fits_http(each)]
    here = sum(each.file_size or 0 for each in wanted if not each.will_download)
    total = here + sum(file.size for file in files)

    def done() -> int:
        return here + sum(file.bytes_here() for file in files)

    if not files:
        return
    _require_room(repo, files[0].blob, total - done(), disk_floor_bytes)
    log.info("downloading %s: %s files, %s of %s bytes are here", repo, len(files), done(), total)
    control.downloaded(done(), total)
    executor = _Crew(repo, sorted(files, key=lambda file: -file.size))
    try:
        while executor.works(_LOOK_SECONDS):
            control.downloaded(done(), total)
            if control.cancelled():
                raise Cancelled
    finally:
        executor.stop()
    executor.raise_failure()
    control.downloaded(done(), total)


def _fits_http(each: DryRunFileInfo) -> bool:
    """The hub gives larger files only through a protocol that huggingface_hub speaks: they are left to it."""
    return (each.file_size or 0) <= int(constants.MAX_HTTP_DOWNLOAD_SIZE)


def _describe(repo: str, each: DryRunFileInfo) -> _File:
    url = hf_hub_url(repo, each.filename, revision=each.commit_hash)
    about = get_hf_file_metadata(url)
    if about.etag is None or about.size is None:
        raise ModelDownloadFailed(f"The hub does not say how large {repo}/{each.filename} is. Try again later.")
    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model")
    return _File(each.filename, url, about.size, folder / "blobs" / about.etag)


def _require_room(repo: str, place: Path, needed: int, disk_floor_bytes: int) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place.parent).free
    if needed > free - disk_floor_bytes:
        raise StorageFull(
            f"{repo} needs {needed / 1e9:.1f} GB more, and {free / 1e9:.1f} GB are free, of which"
            f" {disk_floor_bytes / 1e9:.1f} GB are to stay so (DISK_FLOOR_BYTES). Free some space in MODEL_CACHE_DIR."
        )


class _Crew:
    """Threads that fetch `files`, in their order. One that hangs in the network cannot be ended, but is not waited for
    either: it sees that it is to stop when the next bytes come, or the network gives up on it."""

    def __init__(self, repo: str, files: Sequence[_File]) -> None:
        self._waiting = iter(files)
        self._next = threading.Lock()
        self._stop = threading.Event()
        self._failures: list[Exception] = []
        locks = Path(constants.HF_HUB_CACHE) / ".locks" / repo_folder_name(repo_id=repo, repo_type="model")
        locks.mkdir(parents=True, exist_ok=True)
        self._locks = locks
        self._threads = [threading.Thread(target=self._work, name="download", daemon=True) for _ in range(_AT_ONCE)]
        for thread in self._threads:
            thread.start()

    def works(self, seconds: float) -> bool:
        """Wait up to `seconds`; whether there is still work, and nothing has failed."""
        for thread in self._threads:
            if thread.is_alive():
                thread.join(seconds)
                return not self._failures
        return False

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(_STOP_SECONDS / _AT_ONCE)

    def raise_failure(self) -> None:
        if self._failures:
            raise self._failures[0]

    def _work(self) -> None:
        try:
            while (file := self._take()) is not None:
                with WeakFileLock(self._locks / f"{file.blob.name}.lock"):  # huggingface_hub's own, for the same file
                    if not file.blob.exists() and not self._stop.is_set():
                        self._get(file)
        except _Stopped:
            pass
        except (*DOWNLOAD_ERRORS, GenerationError) as error:  # the business of whoever waits for this thread
            self._failures.append(error)

    def _take(self) -> _File | None:
        with self._next:
            return None if self._stop.is_set() else next(self._waiting, None)

    def _get(self, file: _File) -> None:
        already = file.partial.stat().st_size if file.partial.exists() else 0
        if already > file.size:
            file.partial.unlink()
            already = 0
        bar = type("_Bar", (_Bar,), {"stop": self._stop, "file": file})
        try:
            with file.partial.open("ab") as target:
                http_get(
                    file.url,
                    target,
                    resume_size=already,
                    headers=build_hf_headers() | {"Accept-Encoding": "identity"},
                    expected_size=file.size,
                    tqdm_class=cast(Any, bar),
                )
            _require_whole(file)
        except ModelDownloadFailed:  # what came is not what was said: nothing of it is worth going on with
            file.partial.unlink(missing_ok=True)
            raise
        file.partial.replace(file.blob)


class _Stopped(Exception):
    """The download is not wanted any more."""


class _Bar:
    """What http_get takes for a progress bar: the one place where it can be stopped, before it writes."""

    stop: threading.Event
    file: _File

    def __init__(self, initial: float = 0, **_: object) -> None:
        self._done = initial

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, count: float) -> None:
        if self.stop.is_set():
            raise _Stopped
        self._done += count
        if self._done > self.file.size:
            raise ModelDownloadFailed(f"{self.file.name} is larger than the hub said ({self.file.size:,} bytes).")


def _require_whole(file: _File) -> None:
    """The etag of a large file is its SHA-256."""
    if len(file.blob.name) != _SHA256_DIGITS:
        return
    with file.partial.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != file.blob.name:
        raise ModelDownloadFailed(f"{file.name} came damaged; it is fetched anew at the next try.")
