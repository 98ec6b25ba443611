"""Files that no row points to: what a broken publication or removal left behind."""

from __future__ import annotations

import logging
import re
from itertools import islice
from pathlib import PurePosixPath

from app.errors import Gone, JobNotFound
from app.files.metadata import read_manifest
from app.files.storage import IMAGE_SUFFIX, THUMBNAIL_SUFFIX
from app.services.installation import Installation

ORPHAN_AGE_SECONDS = 3600.0  # a publication takes seconds; what is older than this belongs to nobody
_PORTION = 200

_ID = "[0-9a-f]{32}"
_OURS = re.compile(rf"\d{{4}}/\d\d/\d\d/(?:\.partial-{_ID}|{_ID}(?:\.thumbnail\.webp|\.png))")

log = logging.getLogger("cyberimage.maintenance")


def sweep_orphans(
    installation: Installation, older_than: float = ORPHAN_AGE_SECONDS, *, dry_run: bool = False
) -> tuple[int, int]:
    """Remove files of ours that no row points to and that are older than `older_than` seconds.

    Returns how many there were, and their bytes. Files that somebody else put there stay, and so do pictures of jobs
    that this database never heard of: they belong to another one (an older backup, SQLite before PostgreSQL).
    """
    count = freed = 0
    old = installation.images.older_than(older_than)
    while names := list(islice((name for name in old if _OURS.fullmatch(name)), _PORTION)):
        known = installation.outputs.known_paths(names)
        for name in names:
            if name not in known and _is_litter(installation, name):
                for file in _with_thumbnail(name):
                    size = installation.images.size(file)
                    count, freed = count + (size is not None), freed + (size or 0)
                    if size is not None and not dry_run:
                        installation.images.remove(file)
                        log.info("Removed the orphan %s", PurePosixPath(file).name)
    return count, freed


def _is_litter(installation: Installation, name: str) -> bool:
    """Whether the file `name`, which no row points to, is left over from a publication of this installation."""
    picture, thumbnail, _ = name.partition(THUMBNAIL_SUFFIX)
    if thumbnail:
        return not installation.images.path(picture + IMAGE_SUFFIX).exists()
    return not name.endswith(IMAGE_SUFFIX) or _is_of_our_jobs(installation, name)


def _with_thumbnail(name: str) -> list[str]:
    return [name, name.removesuffix(IMAGE_SUFFIX) + THUMBNAIL_SUFFIX] if name.endswith(IMAGE_SUFFIX) else [name]


def _is_of_our_jobs(installation: Installation, name: str) -> bool:
    try:
        manifest = read_manifest(installation.images.path(name))
        if manifest is None:
            return False
        installation.jobs.get(str(manifest.get("job_id")))
    except Gone:
        return True
    except (JobNotFound, OSError, ValueError):  # the latter two: no picture that we wrote, or removed this moment
        return False
    return True
