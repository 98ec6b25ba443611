"""Copies all files from one media store to another, and compares files with what the database says of them."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.core.output import Output
from app.errors import Gone, ImageNotFound, MediaDamaged
from app.files.media_store import MediaStore
from app.services.context import AppContext
from app.services.media.every_output import every_output
from app.services.ops.orphans import sweep_orphans

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
    """Copy what `target` lacks, and with `remove` remove from `source` what is the same in `target`, and what has no
    picture any more. It may be interrupted and begun anew; pictures may be made and deleted meanwhile.

    Raises MediaUnavailable, DatabaseUnavailable, OSError.
    """
    report = MediaReport()
    with tempfile.TemporaryDirectory(prefix="cyberimage-") as folder:
        for output in every_output(context):
            for name in (output.path, output.thumbnail_path):
                if target.size(name) is None:
                    is_whole = _copy(context, source, target, output, name, Path(folder) / "file", report)
                else:
                    is_whole = not remove or _is_same(source, target, output, name, report)
                if remove and is_whole and source.size(name) is not None:
                    source.remove(name)
                    report.removed += 1
            report.pictures += 1
            progress(report.pictures)
    if remove:  # what was deleted since the other store is in use
        report.removed += sweep_orphans(replace(context, images=source))[0]
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
    except MediaDamaged:
        report.changed.append(name)
        return False
    finally:
        between.unlink(missing_ok=True)
    report.copied, report.bytes = report.copied + 1, report.bytes + size
    return True


def _is_same(source: MediaStore, target: MediaStore, output: Output, name: str, report: MediaReport) -> bool:
    """Whether the file in `target` is the one that is about to be removed: by its checksum, or a thumbnail's size."""
    try:
        if name == output.path:
            with target.open(name).content as file:
                is_same = _sha256(file.read) == output.sha256
        else:
            is_same = source.size(name) in (None, target.size(name))
    except (FileNotFoundError, MediaDamaged):
        is_same = False
    if not is_same:
        report.changed.append(name)
    return is_same


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
