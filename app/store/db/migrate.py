"""Schema migration: applied once, however many processes start at the same time."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from app.errors import ConfigurationError, DatabaseTooNew
from app.store.db.database import Database
from app.store.db.upgrade_backup import UpgradeBackups, back_up_before_upgrade

log = logging.getLogger("cyberimage.store")

_LOCK_NUMBER = 0x43594245  # "CYBE": PostgreSQL advisory locks are numbers


def migrate(database: Database, backups: UpgradeBackups | None = None) -> None:
    """Apply missing migrations, all or none. A non-empty database is copied first, as `backups` says.

    Raises DatabaseTooNew if the database is from a newer version than this code, and ConfigurationError if it cannot be
    copied or upgraded; it is then unchanged.
    """
    head = _scripts().get_current_head()
    with _one_at_a_time(database) as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        if current == head:
            return
        check_known(current)
        if current is not None and backups is not None:
            back_up_before_upgrade(database, current, backups)
        config = _config()
        config.attributes["connection"] = connection
        with _all_or_nothing(current, head):
            command.upgrade(config, "head")


@contextmanager
def _all_or_nothing(current: str | None, head: str | None) -> Iterator[None]:
    """Translate the errors of a failed migration; the transaction around the block is rolled back."""
    try:
        yield
    except (OperationalError, InterfaceError):
        raise  # unavailable or locked: transient
    except SQLAlchemyError as error:
        log.error("The upgrade from %s to %s failed", current, head, exc_info=error)
        raise ConfigurationError(
            [
                f"DATABASE_URL: the database could not be upgraded from {current} to {head} ({type(error).__name__})."
                " It was not changed and still works with the previous version of CyberImage. See errors.log."
            ]
        ) from error


def revision_of(database: Database) -> str | None:
    """The database's migration revision; None if it has no tables yet."""
    with database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def check_known(revision: str | None) -> None:
    """Raises DatabaseTooNew if `revision` is unknown to this version."""
    if revision is not None and revision not in {script.revision for script in _scripts().walk_revisions()}:
        raise DatabaseTooNew(
            [
                f"DATABASE_URL: the database is at revision {revision}, which is unknown to this version: a newer"
                " CyberImage was used with it. Upgrade CyberImage, or restore the backup made before the upgrade."
            ]
        )


@cache
def _scripts() -> ScriptDirectory:
    """The migrations; reading them loads each file."""
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations"))
    return config


@contextmanager
def _one_at_a_time(database: Database) -> Iterator[Connection]:
    if not database.is_sqlite:
        with database.begin_alone() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})
            yield connection
        return
    lock = os.open(f"{database.url.database}.migrate", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)  # minus the umask
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with database.begin_alone() as connection:
            yield connection
    finally:
        os.close(lock)
