"""Resumable downloads of a hub repo's files: an interrupted download keeps its bytes, and the next run continues.

huggingface_hub deletes incomplete files: a cancel would cost gigabytes. So the bytes are fetched here, into
`blobs/<etag>.partial` of its cache, and renamed to `<etag>` when complete; the library then finds its blobs and only
links them. Which files are needed is not decided here.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
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
from app.engines.diffusers.load.errors import DOWNLOAD_ERRORS, log
from app.engines.diffusers.load.hub import plain_names_only
from app.errors import Cancelled, GenerationError, LoraUnavailable, ModelDownloadFailed, StorageFull
from app.files.hub_cache import PARTIAL

_THREADS = 4  # files
_CHUNK_BYTES = 2**20  # what an interruption may lose per file; the library's default is ten times as large
_POLL_SECONDS = 0.2
_STOP_SECONDS = 2.0  # for the threads to write their buffers; one that waits for the network is not joined
_SHA256_DIGITS = 64


@dataclass(frozen=True)
class _File:
    """A file to download, of `size` bytes; several names may share a blob."""

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
def resumable_downloads(
    control: Control, disk_floor_bytes: int, require: Callable[[str, int], None] = lambda repo, size: None
) -> Iterator[None]:
    """Patch diffusers, which alone knows which files of a repo a pipeline needs, to download through this module.

    It has neither a callback nor a way to cancel; so the function that it calls with its list of files is replaced
    within the block. `require` is called with a repo and the bytes of its files before any is fetched. Also raises
    Cancelled, StorageFull and what `require` raises.
    """
    huggingface_hub.utils.disable_progress_bars()  # `control` gets the progress instead

    def download(repo: str, **asked: Any) -> str:
        if not asked.get("local_files_only"):
            wanted = snapshot_download(repo, **asked, dry_run=True)
            require(repo, sum(each.file_size or 0 for each in wanted))
            _fetch(repo, wanted, control, disk_floor_bytes)
        return str(snapshot_download(repo, **asked))

    plain, pipeline_utils.snapshot_download = pipeline_utils.snapshot_download, download
    constants.DOWNLOAD_CHUNK_SIZE = _CHUNK_BYTES
    try:
        with plain_names_only():
            yield
    finally:
        pipeline_utils.snapshot_download = plain


def fetch_file(repo: str, name: str, control: Control, disk_floor_bytes: int, most_bytes: int) -> Path:
    """Download one file of a repo, with progress, cancellation and resumption like a model's. Raises Cancelled,
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
    pool = _DownloadPool(repo, sorted(files, key=lambda file: -file.size))
    try:
        while pool.is_running(_POLL_SECONDS):
            control.downloaded(done(), total)
            if control.cancelled():
                raise Cancelled
    finally:
        pool.stop()
    pool.raise_failure()
    control.downloaded(done(), total)


def _fits_http(each: DryRunFileInfo) -> bool:
    """False for files above the hub's limit for plain HTTP, which huggingface_hub fetches itself by another
    protocol."""
    return (each.file_size or 0) <= int(constants.MAX_HTTP_DOWNLOAD_SIZE)


def _describe(repo: str, each: DryRunFileInfo) -> _File:
    url = hf_hub_url(repo, each.filename, revision=each.commit_hash)
    about = get_hf_file_metadata(url)
    if about.etag is None or about.size is None:
        raise ModelDownloadFailed(f"The hub did not send the size of {repo}/{each.filename}. Try again later.")
    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model")
    return _File(each.filename, url, about.size, folder / "blobs" / about.etag)


def _require_room(repo: str, place: Path, needed: int, disk_floor_bytes: int) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place.parent).free
    if needed > free - disk_floor_bytes:
        raise StorageFull(
            f"{repo} needs {needed / 1e9:.1f} GB more, and {free / 1e9:.1f} GB are free, of which"
            f" {disk_floor_bytes / 1e9:.1f} GB must stay free (DISK_FLOOR_BYTES). Free some space in MODEL_CACHE_DIR."
        )


class _DownloadPool:
    """Pool of threads that download `files` in order. A thread blocked in the network cannot be stopped and is not
    joined: it checks for the stop when the next bytes arrive, or times out."""

    def __init__(self, repo: str, files: Sequence[_File]) -> None:
        self._waiting = iter(files)
        self._next = threading.Lock()
        self._stop = threading.Event()
        self._failures: list[Exception] = []
        locks = Path(constants.HF_HUB_CACHE) / ".locks" / repo_folder_name(repo_id=repo, repo_type="model")
        locks.mkdir(parents=True, exist_ok=True)
        self._locks = locks
        self._threads = [threading.Thread(target=self._work, name="download", daemon=True) for _ in range(_THREADS)]
        for thread in self._threads:
            thread.start()

    def is_running(self, seconds: float) -> bool:
        """Wait up to `seconds`; True while files are left and nothing has failed."""
        for thread in self._threads:
            if thread.is_alive():
                thread.join(seconds)
                return not self._failures
        return False

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(_STOP_SECONDS / _THREADS)

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
        except (*DOWNLOAD_ERRORS, GenerationError) as error:  # raised by `raise_failure` in the waiting thread
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
        except ModelDownloadFailed:  # size or digest differ: the bytes cannot be resumed from
            file.partial.unlink(missing_ok=True)
            raise
        file.partial.replace(file.blob)


class _Stopped(Exception):
    """The download was cancelled."""


class _Bar:
    """A progress bar for http_get: its only hook that can stop a download, called before each write."""

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
    """Raise ModelDownloadFailed if the file's SHA-256 differs from its etag, which large files have."""
    if len(file.blob.name) != _SHA256_DIGITS:
        return
    with file.partial.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != file.blob.name:
        raise ModelDownloadFailed(f"{file.name} was damaged in transfer; the next attempt downloads it again.")
