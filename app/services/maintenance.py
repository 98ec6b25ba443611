"""What keeps the place in order by itself: rescue jobs of dead workers, sweep files that no row points to.

Every worker and the API run it, so that it works whichever of them lives. Each chore is idempotent.
"""

from __future__ import annotations

import logging
import re
import threading
from itertools import islice
from pathlib import PurePosixPath

from app.errors import DatabaseUnavailable, Gone, JobNotFound
from app.files.metadata import read_manifest
from app.services.installation import Installation
from app.services.publish import IMAGE_SUFFIX, THUMBNAIL_SUFFIX

RESCUE_EVERY_SECONDS = 3.0
SWEEP_EVERY_SECONDS = 600.0
ORPHAN_AGE_SECONDS = 3600.0  # a publication takes seconds; what is older than this belongs to nobody

_ID = "[0-9a-f]{32}"
_OURS = re.compile(rf"\d{{4}}/\d\d/\d\d/(?:\.partial-{_ID}|{_ID}(?:\.thumbnail\.webp|\.png))")

log = logging.getLogger("cyberimage.maintenance")


def rescue(installation: Installation) -> int:
    """Give jobs whose worker is silent to somebody else, or fail them. Returns how many there were."""
    rows = installation.claims.rescue()
    for row in rows:
        log.warning(
            "Rescued after attempt %s (%s): now %s", row.attempt, row.error_code, row.status, extra={"job_id": row.id}
        )
        installation.bell.ring("news", row.id)
    if rows:
        installation.bell.ring("work")
    return len(rows)


def sweep_orphans(installation: Installation, older_than: float = ORPHAN_AGE_SECONDS) -> int:
    """Remove what broken publications left: files of ours that no row points to, older than `older_than` seconds.

    Returns how many there were. Files that somebody else put there stay, and so do pictures of jobs that this database
    never heard of: they belong to another one (an older backup, SQLite before the move to PostgreSQL).
    """
    removed = 0
    old = installation.images.older_than(older_than)
    while names := list(islice((name for name in old if _OURS.fullmatch(name)), 200)):
        known = installation.outputs.known_paths(names)
        for name in names:
            if name not in known and _is_litter(installation, name):
                removed += _remove(installation, name)
    return removed


def _is_litter(installation: Installation, name: str) -> bool:
    """Whether the file `name`, which no row points to, is left over from a publication of this installation."""
    picture, thumbnail, _ = name.partition(THUMBNAIL_SUFFIX)
    if thumbnail:
        return not installation.images.path(picture + IMAGE_SUFFIX).exists()
    return not name.endswith(IMAGE_SUFFIX) or _is_of_our_jobs(installation, name)


def _remove(installation: Installation, name: str) -> int:
    """Remove the file `name`, a picture with its thumbnail. Returns how many files that were."""
    names = [name, name.removesuffix(IMAGE_SUFFIX) + THUMBNAIL_SUFFIX] if name.endswith(IMAGE_SUFFIX) else [name]
    present = [each for each in names if installation.images.path(each).exists()]
    for each in present:
        installation.images.remove(each)
        log.info("Removed the orphan %s", PurePosixPath(each).name)
    return len(present)


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


class Maintenance(threading.Thread):
    """The chores, on their own thread, until the process ends."""

    def __init__(self, installation: Installation) -> None:
        super().__init__(name="maintenance", daemon=True)
        self._installation = installation
        self._stopping = threading.Event()

    def run(self) -> None:
        rounds_per_sweep = int(SWEEP_EVERY_SECONDS / RESCUE_EVERY_SECONDS)
        rounds = 0
        while not self._stopping.wait(RESCUE_EVERY_SECONDS if rounds else 0.0):
            self._once(sweep=rounds % rounds_per_sweep == 1)
            rounds += 1

    def stop(self) -> None:
        self._stopping.set()

    def _once(self, *, sweep: bool) -> None:
        try:
            rescue(self._installation)
            if sweep:
                sweep_orphans(self._installation)
                self._installation.workers.forget_dead()
                self._installation.previews.forget_ended()
                self._installation.database.checkpoint()
        except (DatabaseUnavailable, OSError) as error:
            log.error("Maintenance could not finish (%s); it will try again.", error)
