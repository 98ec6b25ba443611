"""Backup and restore: a folder with the database and all of its pictures, written completely or not at all.

The database is copied first, then its pictures: they never change, so they are hard-linked where the disk allows it,
and nothing has to stop meanwhile. A picture that is removed in between is missing from the backup; restoring deletes
its row.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from app.core.times import iso
from app.errors import ConfigurationError, MediaDamaged
from app.files.modes import ProtectedPath, restrict
from app.services.context import AppContext
from app.services.media.every_output import every_output
from app.services.ops.private_files import access_of
from app.store.db import snapshot
from app.store.db.migrate import revision_of
from app.version import __version__

MANIFEST = "backup.json"
IMAGES = "images"

log = logging.getLogger("cyberimage.maintenance")


@dataclass(frozen=True)
class Backup:
    """The content of backup.json."""

    version: str
    revision: str | None
    created_at: str
    database: str
    files: int
    bytes: int


def back_up(context: AppContext, folder: Path) -> Backup:
    """Write a backup to the new `folder`. Raises ConfigurationError, SnapshotFailed, DatabaseUnavailable, OSError."""
    if folder.exists() and any(folder.iterdir()):
        raise ConfigurationError([f"{folder} is not empty. Name a new folder for each backup."])
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True, mode=0o700)  # it holds prompts, and the key that signs webhooks
    try:
        name = snapshot.file_name(context.database)
        snapshot.save(context.database, unfinished / name)
        taken = {file: size for file in _files(context) if (size := _take(context, file, unfinished)) is not None}
        revision = revision_of(context.database)
        backup = Backup(__version__, revision, iso(time.time()), name, len(taken), sum(taken.values()))
        (unfinished / MANIFEST).write_text(json.dumps(asdict(backup), indent=2) + "\n")
        restrict([ProtectedPath(unfinished, own=".*")], access_of(context.settings), most=sys.maxsize)
        unfinished.replace(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return backup


def restore(context: AppContext, folder: Path) -> tuple[Backup, int]:
    """Replace the database by the backup in `folder`. Returns the backup and how many pictures it lacked.

    Existing pictures stay; the orphan sweep removes those without rows in time. Raises as `back_up` does.
    """
    backup = read(folder)
    for path in (folder / IMAGES).rglob("*"):
        if path.is_file():
            context.images.put_file(path.relative_to(folder / IMAGES).as_posix(), path)
    snapshot.load(folder / backup.database, context.database)
    context.database.close()  # its connections and cached schema belong to the old tables
    return backup, _delete_missing(context)


def read(folder: Path) -> Backup:
    """Raises ConfigurationError when there is no backup in `folder`."""
    try:
        return Backup(**json.loads((folder / MANIFEST).read_text()))
    except (OSError, ValueError, TypeError):
        raise ConfigurationError([f"{folder} holds no backup: there is no readable {MANIFEST} in it."]) from None


def _files(context: AppContext) -> Iterator[str]:
    """The names of all files in the database; some twice."""
    return (name for output in every_output(context) for name in (output.path, output.thumbnail_path))


def _take(context: AppContext, name: str, folder: Path) -> int | None:
    """Link or copy a picture into the backup. Returns its size, or None if it was removed meanwhile, or is damaged."""
    try:
        return context.images.copy_to(name, folder / IMAGES / name)
    except FileNotFoundError:
        return None
    except MediaDamaged as error:
        log.error("The backup is without %s: %s", name, error.detail)
        return None


def _delete_missing(context: AppContext) -> int:
    missing = {Path(name).name.partition(".")[0] for name in _files(context) if context.images.size(name) is None}
    for output_id in missing:
        context.outputs.remove(output_id)
    return len(missing)
