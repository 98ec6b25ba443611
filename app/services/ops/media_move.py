"""Copies all files from one media store to another, and compares files with what the database says of them."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from app.core.output import Output
from app.errors import Gone, ImageNotFound
from app.files.media_store import MediaStore
from app.services.context import AppContext
from app.services.media.every_output import every_output

_CHUNK_BYTES = 1 << 20

Progress = Callable[[int], object]  # called with the number of pictures so far


@dataclass
class MediaReport:
    """`pictures` and videos were looked at. Of their files `copied`, with `bytes`, were copied, and `removed` were
    removed from the store that they were in. `missing` files are not there, and `changed` ones differ from their
    checksum: their names."""

    pictures: int = 0
    copied: int = 0
    bytes: int = 0
    removed: int = 0
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        return not self.missing and not self.changed


def move(
    context: AppContext, source: MediaStore, target: MediaStore, *, remove: bool, progress: Progress
) -> MediaReport:
    """Copy what `target` lacks, and with `remove` remove from `source` what `target` has. It may be interrupted and
    begun anew; pictures may be made and deleted meanwhile. Raises MediaUnavailable, DatabaseUnavailable, OSError."""
    report = MediaReport()
    with tempfile.TemporaryDirectory(prefix="cyberimage-") as folder:
        for output in every_output(context):
            for name in (output.path, output.thumbnail_path):
                is_whole = target.size(name) is not None
                is_whole = is_whole or _copy(context, source, target, output, name, Path(folder) / "file", report)
                if remove and is_whole and source.size(name) is not None:
                    source.remove(name)
                    report.removed += 1
            report.pictures += 1
            progress(report.pictures)
    return report


def verify(context: AppContext, *, progress: Progress) -> MediaReport:
    """Read all files of the media store. Thumbnails, whose checksums are not kept, only have to be there. Raises as
    `move` does."""
    report = MediaReport()
    for output in every_output(context):
        try:
            with context.images.open(output.path).content as file:
                is_same = _sha256(file.read) == output.sha256
            if not is_same:
                report.changed.append(output.path)
        except FileNotFoundError:
            _note_missing(context, output, output.path, report)
        if context.images.size(output.thumbnail_path) is None:
            _note_missing(context, output, output.thumbnail_path, report)
        report.pictures += 1
        progress(report.pictures)
    return report


def _copy(
    context: AppContext,
    source: MediaStore,
    target: MediaStore,
    output: Output,
    name: str,
    between: Path,
    report: MediaReport,
) -> bool:
    """Copy one file by way of the file `between`. Returns whether it is whole in `target`."""
    try:
        size = source.copy_to(name, between)
        with between.open("rb") as file:
            if name == output.path and _sha256(file.read) != output.sha256:
                report.changed.append(name)
                return False
        target.put_file(name, between)
    except FileNotFoundError:
        _note_missing(context, output, name, report)
        return False
    finally:
        between.unlink(missing_ok=True)
    report.copied, report.bytes = report.copied + 1, report.bytes + size
    return True


def _sha256(read: Callable[[int], bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _note_missing(context: AppContext, output: Output, name: str, report: MediaReport) -> None:
    """Note that a file is missing, unless its picture was removed meanwhile."""
    try:
        context.outputs.get(output.id, binned=True)
    except (Gone, ImageNotFound):
        return
    report.missing.append(name)
