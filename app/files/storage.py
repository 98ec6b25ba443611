"""Media storage: files appear complete and synced to disk, or not at all.

A local folder is the only implementation; an object store would implement the same methods.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from app.errors import StorageFull

IMAGE_SUFFIX = ".png"
THUMBNAIL_SUFFIX = ".thumbnail.webp"
VIDEO_SUFFIXES = {"video/mp4": ".mp4", "video/webm": ".webm"}
POSTER_SUFFIX = ".poster.webp"
TEMPORARY = ".partial-"


class MediaStorage:
    """Files under `root`, named by relative paths with forward slashes. Files with the suffix of a video or poster are
    under `videos`, if given."""

    def __init__(self, root: Path, videos: Path | None = None) -> None:
        self.root = root
        self._videos = videos or root

    def publish(self, files: Mapping[str, bytes]) -> None:
        """Write all `files` (relative path → content), complete and synced.

        Temporary file → fsync → rename → fsync of the folder. On any failure none of them is left, and existing files
        are kept. Raises StorageFull if the disk is full.
        """
        targets = {self.path(name): data for name, data in files.items()}
        ours: list[Path] = []  # to remove on failure
        try:
            temporaries: dict[Path, Path] = {}
            for final, data in targets.items():
                _make_folder(final.parent)
                kept = _video_suffix(final.name)  # it determines the folder
                temporary = final.with_name(f"{TEMPORARY}{uuid.uuid4().hex}{kept}")
                ours.append(temporary)
                _write_synced(temporary, data)
                temporaries[final] = temporary
            for final, temporary in temporaries.items():
                if final.exists():
                    raise FileExistsError(errno.EEXIST, "already published", final.name)
                ours.append(final)
                temporary.rename(final)
            for folder in {final.parent for final in targets}:
                _sync_folder(folder)
        except BaseException as error:
            for path in ours:
                path.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull(f"The disk of {self.root.name}/ is full. Free some space.") from None
            raise

    def path(self, name: str) -> Path:
        """The path of the file `name`. Raises ValueError if it is outside the root."""
        relative = PurePosixPath(name)
        if not relative.parts or relative.is_absolute() or ".." in relative.parts or "\0" in name:
            raise ValueError(f"{name!r} is not a path inside the media folder")
        return (self._videos if _video_suffix(relative.name) else self.root) / relative

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        self.path(name).unlink(missing_ok=True)

    def size(self, name: str) -> int | None:
        """Bytes of a file; None if it does not exist."""
        try:
            return self.path(name).stat().st_size
        except FileNotFoundError:
            return None

    def older_than(self, seconds: float) -> Iterator[str]:
        """All files last changed more than `seconds` ago, including temporary ones, as relative names."""
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
        """Free space of the disk of the root, or of its nearest existing parent; with two disks, of the fuller one."""
        return min(_free(folder) for folder in (self.root, self._videos))


def _video_suffix(name: str) -> str:
    """The suffix of a video or poster; empty for other files."""
    return next((suffix for suffix in (POSTER_SUFFIX, *VIDEO_SUFFIXES.values()) if name.endswith(suffix)), "")


def _free(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def dated_name(output_id: str, suffix: str, when: datetime | None = None) -> str:
    """`YYYY/MM/DD/<output_id><suffix>`, by the UTC date."""
    return f"{(when or datetime.now(UTC)):%Y/%m/%d}/{output_id}{suffix}"


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
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
