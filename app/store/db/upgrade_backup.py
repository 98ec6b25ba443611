"""Copies the database before a newer version of CyberImage changes its schema."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from app.errors import ConfigurationError, SnapshotFailed
from app.store.db import snapshot
from app.store.db.database import Database

SPARE_BYTES = 50_000_000  # to stay free on the disk after the copy
_PREFIX = "before-upgrade-"

log = logging.getLogger("cyberimage.store")


@dataclass(frozen=True)
class UpgradeBackups:
    """The folder and how many copies are kept; 0 = none is made."""

    folder: Path
    keep: int


def back_up_before_upgrade(database: Database, revision: str, backups: UpgradeBackups) -> Path | None:
    """Copy `database`, which is at `revision`, and remove the oldest copies. Returns the file, None if disabled.

    Raises ConfigurationError, naming the remedy, if there is no space or no program to copy with.
    """
    if not backups.keep:
        return None
    backups.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _require_space(database, backups.folder)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    file = backups.folder / f"{_PREFIX}{stamp}-from-{revision}{Path(snapshot.file_name(database)).suffix}"
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        snapshot.save(database, unfinished)
        unfinished.chmod(0o600)  # it holds prompts, and the key that signs webhooks
        unfinished.rename(file)
    except SnapshotFailed as error:
        raise _refusal(f"it could not be copied first: {error.detail}") from None
    except OSError as error:
        raise _refusal(f"it could not be copied to {backups.folder} first: {error.strerror}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    log.warning("The database is being upgraded from revision %s; its backup is %s", revision, file)
    for old in sorted(backups.folder.glob(f"{_PREFIX}*"))[: -backups.keep]:
        old.unlink(missing_ok=True)
    return file


def _require_space(database: Database, folder: Path) -> None:
    needed, free = _size_of(database) + SPARE_BYTES, shutil.disk_usage(folder).free
    if free < needed:
        raise _refusal(f"a copy of it needs {needed:,} bytes at {folder}, where {free:,} are free")


def _size_of(database: Database) -> int:
    """Estimated bytes of the copy. PostgreSQL's dumps are compressed, usually to less than half."""
    if database.is_sqlite:
        path = Path(database.url.database or "")
        return sum(part.stat().st_size for part in (path, Path(f"{path}-wal")) if part.exists())
    with database.read() as connection:
        return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0) // 2


def _refusal(why: str) -> ConfigurationError:
    return ConfigurationError(
        [f"DATABASE_URL: the database must be upgraded, and {why}. Fix that, or skip the copy: UPGRADE_BACKUPS=0."]
    )
