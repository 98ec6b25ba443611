"""The interface of media stores, which hold the files of pictures and videos: a folder, or a bucket of S3.

A file has a name, a relative path with forward slashes that is made of the date and an output's id (`dated_name`). It
appears complete or not at all, and never changes under its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from app.files.probe import MAX_AGE_SECONDS

IMAGE_SUFFIX = ".png"
THUMBNAIL_SUFFIX = ".thumbnail.webp"
VIDEO_SUFFIXES = {"video/mp4": ".mp4", "video/webm": ".webm"}
POSTER_SUFFIX = ".poster.webp"


_TYPES = {
    IMAGE_SUFFIX: "image/png",
    ".webp": "image/webp",
    **{suffix: kind for kind, suffix in VIDEO_SUFFIXES.items()},
}


class AlreadyPublished(FileExistsError):
    """There is a file of this name."""


@dataclass(frozen=True)
class MediaFile:
    """An open file: `content` can be sought in, and is closed by the caller. `size` in bytes, `modified` in
    seconds since the epoch."""

    content: BinaryIO
    size: int
    modified: float


class MediaStore(Protocol):
    """Every method raises ValueError for a name that leads outside of the store, and MediaUnavailable while the store
    cannot be used (its kind MediaUnreadable where nothing is written). Thread-safe."""

    def publish(self, files: Mapping[str, bytes]) -> None:
        """Store all `files` (name → content) for good. On any failure none of them is left, and existing files are
        kept. Raises MediaFull or MediaUnavailable, AlreadyPublished."""

    def put_file(self, name: str, source: Path) -> None:
        """Store a copy of the file `source`, unless there is a file of this name."""

    def open(self, name: str) -> MediaFile:
        """Raises FileNotFoundError."""

    def read(self, name: str) -> bytes:
        """The whole file. Raises FileNotFoundError."""

    def copy_to(self, name: str, target: Path) -> int:
        """Write a copy of the file to the new file `target`. Returns its bytes. Raises FileNotFoundError."""

    def size(self, name: str) -> int | None:
        """Bytes of a file; None if it does not exist."""

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""

    def url(self, name: str, seconds: int, *, mime_type: str, download_name: str | None = None) -> str | None:
        """A URL that opens the file for so many seconds, for any client that has it; None where there are no such URLs.
        With a `download_name` it is offered for saving."""

    def refusal(self) -> str | None:
        """Why the store can never be used as it is set up, for the start; None if it can, or if what is wrong may
        pass."""

    def older_than(self, seconds: float) -> Iterator[str]:
        """All files last changed more than `seconds` ago, including temporary ones."""

    def problem(self, max_age: float = MAX_AGE_SECONDS) -> str | None:
        """Why no file can be stored now, as in "images: read-only file system"; None if files can. A result may be used
        again for `max_age` seconds."""

    def free_bytes(self) -> int | None:
        """Free space; 0 if it cannot be read, None where there is no such bound."""

    def used_percent(self) -> float | None:
        """Use of the space, 0 to 100; None if that cannot be read or there is no bound."""


def checked_name(name: str) -> PurePosixPath:
    """`name` as a relative path. Raises ValueError if it leads outside of the store."""
    relative = PurePosixPath(name)
    if not relative.parts or relative.is_absolute() or ".." in relative.parts or "\0" in name:
        raise ValueError(f"{name!r} is not a path inside the media folder")
    return relative


def media_type(name: str) -> str:
    """The media type of a file of ours, by its suffix."""
    return next((kind for suffix, kind in _TYPES.items() if name.endswith(suffix)), "application/octet-stream")


def dated_name(output_id: str, suffix: str, when: datetime | None = None) -> str:
    """`YYYY/MM/DD/<output_id><suffix>`, by the UTC date."""
    return f"{(when or datetime.now(UTC)):%Y/%m/%d}/{output_id}{suffix}"
