"""Translates the errors of the database drivers into `app.errors`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import DatabaseDamaged, DatabaseFull, DatabaseReadOnly, DatabaseUnavailable
from app.monitoring.fault_log import database_faults

log = logging.getLogger("cyberimage.store")

RETRY_AFTER_SECONDS = 5.0
_PG_DISK_FULL, _PG_READ_ONLY, _PG_LOCKED = "53100", "25006", "55P03"
_PG_DAMAGED = ("XX001", "XX002")
_DAMAGED = ("malformed", "not a database", "could not decode to utf-8")  # in SQLite's messages
_LOCKED = ("database is locked", "database table is locked")


class UnreadableValue(ValueError):
    """A stored value is not what was written."""


class DriverErrors:
    """Of the database called `name`. `driver_error` is the base class of what a driver raises by itself, past
    SQLAlchemy; `recovery` is a sentence on what to do about damage."""

    def __init__(self, name: str, recovery: str, *driver_error: type[Exception]) -> None:
        self._name = name
        self._recovery = recovery
        self._caught: tuple[type[Exception], ...] = (DBAPIError, UnicodeDecodeError, UnreadableValue, *driver_error)
        self._damage_logged = False

    @contextmanager
    def translated(self) -> Iterator[None]:
        """After such an error the commit may or may not have happened."""
        try:
            yield
        except PoolTimeout as error:
            database_faults.add(log, logging.ERROR, "All connections to the database are busy")
            raise _unavailable("The database is busy; try again in a moment.") from error
        except self._caught as error:
            self._raise(error)
        if database_faults.active:
            database_faults.ended(log)

    def _raise(self, error: Exception) -> NoReturn:
        original = getattr(error, "orig", error)
        text, state = str(original).lower(), getattr(original, "sqlstate", None)
        if (
            isinstance(error, UnicodeDecodeError | UnreadableValue)
            or state in _PG_DAMAGED
            or any(word in text for word in _DAMAGED)
        ):
            self._log_damage(original)
            raise self.damaged() from error
        if "readonly database" in text or state == _PG_READ_ONLY:
            raise _read_only() from original
        if not _is_outage(error):
            raise error
        if "disk is full" in text or state == _PG_DISK_FULL:
            database_faults.add(log, logging.ERROR, "The disk of the database is full: %s", original)
            raise DatabaseFull("The disk of the database is full. Free some space and try again.") from error
        database_faults.add(log, logging.ERROR, "The database does not answer: %s", original)
        if state == _PG_LOCKED or any(word in text for word in _LOCKED):
            raise _unavailable("The database is locked by another program; try again in a moment.") from error
        raise _unavailable("The database does not answer; try again in a moment.") from error

    def damaged(self) -> DatabaseDamaged:
        return DatabaseDamaged(
            f"The database {self._name} is damaged: restore the backup by `cyberimage restore FOLDER --replace`, or"
            f" {self._recovery}",
            retry_after=60,
        )

    def _log_damage(self, reason: object) -> None:
        if not self._damage_logged:
            self._damage_logged = True
            log.error("%s (%s)", self.damaged().detail, reason)


def _is_outage(error: Exception) -> bool:
    """Whether the database, not the statement, is at fault."""
    if isinstance(error, DBAPIError):
        return isinstance(error, OperationalError | InterfaceError)
    return type(error).__name__ in ("OperationalError", "InterfaceError")  # the driver's own


def _unavailable(detail: str) -> DatabaseUnavailable:
    return DatabaseUnavailable(detail, retry_after=RETRY_AFTER_SECONDS)


def _read_only() -> DatabaseReadOnly:
    return DatabaseReadOnly(
        "The database is read-only, so no job can be accepted or finished. Check its disk and the file permissions.",
        retry_after=RETRY_AFTER_SECONDS,
    )


def hide_row(context: ExceptionContext) -> None:
    """Remove PostgreSQL's DETAIL and CONTEXT from errors: they quote the refused row or JSON, including prompts."""
    original, wrapped = context.original_exception, context.sqlalchemy_exception
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    if primary:
        original.args = (primary,)
        if wrapped is not None:
            wrapped.args = (f"({type(original).__name__}) {primary}",)
