"""A media store in a folder: files appear complete and synced to disk, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from app.errors import MediaFull, MediaUnavailable, MediaUnreadable
from app.files.media_store import POSTER_SUFFIX, VIDEO_SUFFIXES, AlreadyPublished, MediaFile, checked_name
from app.files.probe import MAX_AGE_SECONDS, TEMPORARY, FolderProbe, describe, free_bytes, used_percent
from app.monitoring.failpoints import failpoint


class FolderStore:
    """Files under `root`. Those with the suffix of a video or poster are under `videos`, if given."""

    def __init__(self, root: Path, videos: Path | None = None) -> None:
        self.root = root
        self._videos = videos or root
        self._probe = FolderProbe([self.root, self._videos])

    def publish(self, files: Mapping[str, bytes]) -> None:
        """Temporary file → fsync → rename → fsync of the folder."""
        targets = {self.path(name): data for name, data in files.items()}
        with storage_errors(self._folder_of(next(iter(files), ""))):
            self._publish(targets)

    def _publish(self, targets: Mapping[Path, bytes]) -> None:
        ours: list[Path] = []  # to remove on failure
        try:
            temporaries: dict[Path, Path] = {}
            failpoint("before_write")
            for final, data in targets.items():
                _make_folder(final.parent)
                kept = _video_suffix(final.name)  # it determines the folder
                temporary = final.with_name(f"{TEMPORARY}{uuid.uuid4().hex}{kept}")
                ours.append(temporary)
                _write_synced(temporary, data)
                temporaries[final] = temporary
            for final, temporary in temporaries.items():
                if final.exists():
                    raise AlreadyPublished(errno.EEXIST, "already published", final.name)
                ours.append(final)
                temporary.rename(final)
            for folder in {final.parent for final in targets}:
                _sync_folder(folder)
        except BaseException:
            for path in ours:
                with contextlib.suppress(OSError):  # what made this fail may do so here too; the sweep removes the file
                    path.unlink(missing_ok=True)
            raise

    def problem(self, max_age: float = MAX_AGE_SECONDS) -> str | None:
        """Which folder cannot be written and why, as in "images: read-only file system"; None if all can. A result is
        used again for `max_age` seconds."""
        return self._probe.problem(max_age)

    def path(self, name: str) -> Path:
        """The path of the file `name`. Raises ValueError if it is outside the root."""
        relative = checked_name(name)
        return self._folder_of(relative.name) / relative

    def _folder_of(self, name: str) -> Path:
        return self._videos if _video_suffix(name) else self.root

    def put_file(self, name: str, source: Path) -> None:
        """A hard link where the disk allows it."""
        target = self.path(name)
        if target.exists():  # a file never changes under its name
            return
        with storage_errors(self._folder_of(name)):
            _make_folder(target.parent)
            temporary = target.with_name(f"{TEMPORARY}{uuid.uuid4().hex}{_video_suffix(name)}")
            try:
                _linked(source, temporary)
                _sync(temporary)  # also a link: the other name's file need not be on the disk yet
                temporary.rename(target)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(target.parent)

    def open(self, name: str) -> MediaFile:
        path = self.path(name)
        with _reading_errors(path):
            content = path.open("rb")
        about = os.fstat(content.fileno())
        return MediaFile(content, about.st_size, about.st_mtime)

    def read(self, name: str) -> bytes:
        path = self.path(name)
        with _reading_errors(path):
            return path.read_bytes()

    def copy_to(self, name: str, target: Path) -> int:
        """A hard link where the disk allows it."""
        source = self.path(name)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            _linked(source, target)
        with _reading_errors(source):
            return source.stat().st_size

    def remove(self, name: str) -> None:
        path = self.path(name)
        with storage_errors(self._folder_of(name)):
            path.unlink(missing_ok=True)

    def size(self, name: str) -> int | None:
        path = self.path(name)
        try:
            with _reading_errors(path):
                return path.stat().st_size
        except FileNotFoundError:
            return None

    def url(self, name: str, seconds: int, *, mime_type: str, download_name: str | None = None) -> str | None:
        return None

    def refusal(self) -> str | None:
        return None  # folders are checked before, by name of their setting (services.ops.preflight)

    def older_than(self, seconds: float) -> Iterator[str]:
        newest = datetime.now(UTC).timestamp() - seconds
        for root in dict.fromkeys((self.root, self._videos)):
            for path in root.rglob("*"):
                name = path.relative_to(root).as_posix()
                if path.name == ".gitkeep" or not path.is_file() or self.path(name) != path:
                    continue
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    if path.stat().st_mtime < newest:
                        yield name

    def free_bytes(self) -> int:
        """Free space of the disk of the root, or of its nearest existing parent; with two disks, of the fuller one.
        0 if that cannot be read."""
        with contextlib.suppress(OSError):  # a mount is gone
            return min(free_bytes(folder) for folder in (self.root, self._videos))
        return 0

    def used_percent(self) -> float | None:
        """Use of the disk of the root, or of the fuller one of two, 0 to 100; None if that cannot be read."""
        with contextlib.suppress(OSError):
            return max(used_percent(folder) for folder in (self.root, self._videos))
        return None


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Translate what the operating system says of files in `folder` into MediaFull and MediaUnavailable."""
    try:
        yield
    except AlreadyPublished:  # waiting would not help
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MediaFull(f"The disk of {folder.name}/ is full. Free some space.") from None
        raise MediaUnavailable(
            f"The picture could not be written ({describe(folder, error)}). Check that disk and its mount."
        ) from error


def _video_suffix(name: str) -> str:
    """The suffix of a video or poster; empty for other files."""
    return next((suffix for suffix in (POSTER_SUFFIX, *VIDEO_SUFFIXES.values()) if name.endswith(suffix)), "")


@contextmanager
def _reading_errors(path: Path) -> Iterator[None]:
    """Translate what the operating system says of reading `path`, but for FileNotFoundError, into MediaUnreadable."""
    try:
        yield
    except (NotADirectoryError, IsADirectoryError):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path.name) from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise MediaUnreadable(f"The file could not be read ({describe(path, error)}). Check its disk.") from error


def _linked(source: Path, target: Path) -> bool:
    """Link `source`, or copy it. Returns whether it was linked."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # another disk, or no support for hard links
        shutil.copy2(source, target)
        return False
    return True


def _make_folder(folder: Path) -> None:
    """Create `folder` and its parents, synced: a power cut must not lose a whole date folder."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in reversed(missing):
        _sync_folder(place.parent)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    _sync(folder, os.O_DIRECTORY)


def _sync(path: Path, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
