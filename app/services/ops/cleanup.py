"""Retention: empties the bin, and removes pictures and jobs that are too old, too many or too large together; of
pictures that are not in the bin, favourites stay.

Rows are removed before files, so no row lacks its file. A crash in between leaves orphans, which are swept. Processes
may clean up concurrently: each removes, and counts, what it finds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.errors import MediaUnreadable
from app.services.context import AppContext
from app.services.media.removal import remove_files
from app.services.ops.orphans import sweep_orphans
from app.store.media.retention import OldOutput
from app.store.ops.counters import Counter

DAY = 86400.0
KEYS_KEPT_SECONDS = 30 * DAY  # a request repeated later makes a new job
REMOVALS_KEPT_SECONDS = 365 * DAY  # after this, removed items answer 404, no longer 410

log = logging.getLogger("cyberimage.maintenance")


@dataclass
class Report:
    """What was removed, or would be in a `dry_run`. `freed_bytes` counts pictures, thumbnails and orphans."""

    dry_run: bool
    images: int = 0
    jobs: int = 0
    orphans: int = 0
    idempotency_keys: int = 0
    freed_bytes: int = 0


def clean_up(context: AppContext, *, dry_run: bool = False) -> Report:
    """Apply the retention settings, sweep orphans, delete old Idempotency-Keys. Raises DatabaseUnavailable."""
    sweep = _Sweep(context, dry_run)
    sweep.bin()
    sweep.by_age()
    sweep.by_size()
    report = sweep.report
    report.orphans, freed = sweep_orphans(context, dry_run=dry_run)
    report.freed_bytes += freed
    store = context.retention
    report.idempotency_keys = (store.count_keys if dry_run else store.delete_keys)(KEYS_KEPT_SECONDS)
    if not dry_run:
        store.delete_batches(max(context.settings.retention_days, 1) * DAY)
        store.delete_removals(REMOVALS_KEPT_SECONDS)
        _note(context, report)
    return report


class _Sweep:
    """Removes what is too old, then what is too much."""

    def __init__(self, context: AppContext, dry_run: bool) -> None:
        self._context = context
        self._store = context.retention
        self._gone: set[str] = set()  # ids removed so far, also in a dry run
        self._gone_bytes = 0
        self.report = Report(dry_run)

    def bin(self) -> None:
        """Remove what has been in the bin for BIN_DAYS."""
        for portion in self._store.binned(self._context.settings.bin_days * DAY):
            self._delete(portion, (), binned=True)

    def by_age(self) -> None:
        """Remove jobs that ended more than RETENTION_DAYS ago, in any state, with their pictures."""
        age = self._context.settings.retention_days * DAY
        if age:
            for job_ids in self._store.ended_before(age):
                self._delete(self._store.outputs_of(job_ids), job_ids, ended_before=age)

    def by_size(self) -> None:
        """Remove pictures beyond RETENTION_MAX_IMAGES and RETENTION_MAX_BYTES: those in the bin, then the oldest."""
        settings, outputs = self._context.settings, self._context.outputs
        count, size = (outputs.totals()[name] + outputs.bin_totals()[name] for name in ("count", "bytes"))
        done = self._gone if self.report.dry_run else ()
        surplus = count - len(done) - settings.retention_max_images if settings.retention_max_images else 0
        excess = size - (self._gone_bytes if done else 0) - settings.retention_max_bytes
        excess = excess if settings.retention_max_bytes else 0
        surplus, excess = self._make_room(self._store.binned(), surplus, excess, binned=True)
        self._make_room(self._store.oldest_outputs(), surplus, excess)

    def _make_room(
        self, portions: Iterator[list[OldOutput]], surplus: int, excess: int, *, binned: bool = False
    ) -> tuple[int, int]:
        """Remove the first pictures of `portions` until so many, and so many bytes, are gone. Returns what is left."""
        while (surplus > 0 or excess > 0) and (portion := next(portions, None)):
            chosen: list[OldOutput] = []
            for old in portion:
                if old.id not in self._gone and (surplus > 0 or excess > 0):
                    chosen.append(old)
                    surplus, excess = surplus - 1, excess - old.bytes
            self._delete(chosen, () if binned else sorted({old.job_id for old in chosen}), binned=binned)
        return surplus, excess

    def _delete(
        self, old: Sequence[OldOutput], job_ids: Sequence[str], *, ended_before: float = 0.0, binned: bool = False
    ) -> None:
        deleted = self._store.delete(
            old, job_ids, ended_before=ended_before, dry_run=self.report.dry_run, binned=binned
        )
        self.report.images += len(deleted.outputs)
        self.report.jobs += deleted.jobs
        self._gone.update(each.id for each in deleted.outputs)
        self._gone_bytes += sum(each.bytes for each in deleted.outputs)
        names = [name for each in deleted.outputs for name in (each.path, each.thumbnail_path)]
        self.report.freed_bytes += self._bytes_of(names) or sum(each.bytes for each in deleted.outputs)
        if not self.report.dry_run:
            remove_files(self._context, names)

    def _bytes_of(self, names: Sequence[str]) -> int:
        """0 while the media store is away: the rows are gone already, and their files left to the sweep."""
        try:
            return sum(self._context.images.size(name) or 0 for name in names)
        except MediaUnreadable:
            return 0


def _note(context: AppContext, report: Report) -> None:
    removed = {"image": report.images, "job": report.jobs, "orphan": report.orphans}
    if any(removed.values()):
        log.info("Clean-up removed %s and freed %.1f MB", removed, report.freed_bytes / 1e6)
        found = {Counter("removed", "", kind): float(number) for kind, number in removed.items() if number}
        context.counters.add(found | {Counter("freed_bytes"): float(report.freed_bytes)})
