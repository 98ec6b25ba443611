"""A copy of the database as it was, taken before a newer version of CyberImage changes its schema."""

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

SPARE_BYTES = 50_000_000  # that a disk should have left after the copy
_PREFIX = "before-upgrade-"

log = logging.getLogger("cyberimage.store")


@dataclass(frozen=True)
class UpgradeBackups:
    """Where they go, and how many of them stay; 0 = none is taken."""

    folder: Path
    keep: int


def back_up_before_upgrade(database: Database, revision: str, wish: UpgradeBackups) -> Path | None:
    """Copy `database`, which is at `revision`, and remove the oldest copies. Gives the file, None when none is wished.

    Raises ConfigurationError, naming the way out, when there is no room or no program to copy with.
    """
    if not wish.keep:
        return None
    wish.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _require_room(database, wish.folder)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    file = wish.folder / f"{_PREFIX}{stamp}-from-{revision}{Path(snapshot.file_name(database)).suffix}"
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        snapshot.save(database, unfinished)
        unfinished.chmod(0o600)  # it holds prompts, and the key that signs webhooks
        unfinished.rename(file)
    except SnapshotFailed as error:
        raise _refusal(f"it could not be copied first: {error.detail}") from None
    except OSError as error:
        raise _refusal(f"it could not be copied to {wish.folder} first: {error.strerror}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    log.warning("The database is upgraded from %s; a copy of it as it was is %s", revision, file)
    for old in sorted(wish.folder.glob(f"{_PREFIX}*"))[: -wish.keep]:
        old.unlink(missing_ok=True)
    return file


def _require_room(database: Database, folder: Path) -> None:
    needed, free = _size_of(database) + SPARE_BYTES, shutil.disk_usage(folder).free
    if free < needed:
        raise _refusal(f"a copy of it needs {needed:,} bytes at {folder}, where {free:,} are free")


def _size_of(database: Database) -> int:
    """Bytes that the copy may take. PostgreSQL's dumps are compressed: less than half, as a rule."""
    if database.is_sqlite:
        path = Path(database.url.database or "")
        return sum(part.stat().st_size for part in (path, Path(f"{path}-wal")) if part.exists())
    with database.read() as connection:
        return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0) // 2


def _refusal(why: str) -> ConfigurationError:
    return ConfigurationError(
        [f"DATABASE_URL: the database has to be upgraded, and {why}. Mend that, or go on without: UPGRADE_BACKUPS=0."]
    )
