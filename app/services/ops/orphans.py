"""Removes orphans: files without a row, left by an interrupted publication or removal."""

from __future__ import annotations

import logging
import re
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from app.errors import Gone, JobNotFound, MediaUnreadable
from app.files.media_store import IMAGE_SUFFIX, POSTER_SUFFIX, THUMBNAIL_SUFFIX, VIDEO_SUFFIXES
from app.files.metadata import read_manifest
from app.files.probe import TEMPORARY
from app.services.context import AppContext

ORPHAN_AGE_SECONDS = 1800.0  # a publication takes seconds: an older file without a row is an orphan
LEASES = 2.0  # and no younger than this many leases: for as long as one, a publication tries to commit
_PORTION = 200

_ID = "[0-9a-f]{32}"
_VIDEO = r"(?:\.mp4|\.webm|\.poster\.webp)"
_PROBE = rf"\.partial-{_ID}"  # of a probe that was interrupted
_OURS = re.compile(
    rf"{_PROBE}|\d{{4}}/\d\d/\d\d/(?:\.partial-{_ID}{_VIDEO}?|{_ID}(?:\.thumbnail\.webp|\.png|{_VIDEO}))"
)
_FILES = (IMAGE_SUFFIX, *VIDEO_SUFFIXES.values())

log = logging.getLogger("cyberimage.maintenance")


def sweep_orphans(context: AppContext, older_than: float | None = None, *, dry_run: bool = False) -> tuple[int, int]:
    """Remove files of this installation that have no row and are older than `older_than` seconds (by default, than any
    publication takes).

    Returns their number and bytes. Foreign files stay, and so do pictures of jobs that this database never had: they
    belong to another one (an older backup, SQLite before PostgreSQL).
    """
    count = freed = 0
    least_age = max(ORPHAN_AGE_SECONDS, LEASES * context.settings.lease_seconds)
    old = context.images.older_than(least_age if older_than is None else older_than)
    while names := list(islice((name for name in old if _OURS.fullmatch(name)), _PORTION)):
        known = context.outputs.known_paths(names)
        for name in names:
            if name not in known and _is_orphan(context, name):
                for file in _with_thumbnail(name):
                    size = context.images.size(file)
                    count, freed = count + (size is not None), freed + (size or 0)
                    if size is not None and not dry_run:
                        context.images.remove(file)
                        log.info("Removed the orphan %s", PurePosixPath(file).name)
    return count, freed


def _is_orphan(context: AppContext, name: str) -> bool:
    """Whether `name`, a file without a row, is left from a publication of this installation."""
    if PurePosixPath(name).name.startswith(TEMPORARY):
        return True
    if name.endswith((THUMBNAIL_SUFFIX, POSTER_SUFFIX)):
        return all(context.images.size(of) is None for of in _shown_by(name))
    return _is_of_our_jobs(context, name)


def _with_thumbnail(name: str) -> list[str]:
    if not name.endswith(_FILES) or PurePosixPath(name).name.startswith(TEMPORARY):
        return [name]
    stem, suffix = name[: name.rindex(".")], name[name.rindex(".") :]
    return [name, stem + (THUMBNAIL_SUFFIX if suffix == IMAGE_SUFFIX else POSTER_SUFFIX)]


def _shown_by(thumbnail: str) -> list[str]:
    """The files that `thumbnail` may belong to."""
    if thumbnail.endswith(THUMBNAIL_SUFFIX):
        return [thumbnail.removesuffix(THUMBNAIL_SUFFIX) + IMAGE_SUFFIX]
    return [thumbnail.removesuffix(POSTER_SUFFIX) + suffix for suffix in VIDEO_SUFFIXES.values()]


def _is_of_our_jobs(context: AppContext, name: str) -> bool:
    try:
        manifest = _manifest_in(context, name)
        if manifest is None:
            return False
        context.jobs.get(str(manifest.get("job_id")))
    except Gone:
        return True
    except (JobNotFound, MediaUnreadable, OSError, ValueError):  # the last two: no picture of ours, or just removed
        return False
    return True


def _manifest_in(context: AppContext, name: str) -> dict[str, Any] | None:
    with context.images.open(name).content as file:
        if name.endswith(IMAGE_SUFFIX):
            return read_manifest(file)
        from app.files.media import read_video_manifest  # here, because the API process needs it for nothing else

        return read_video_manifest(file)
