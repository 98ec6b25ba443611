"""The SQLAlchemy engines of SQLite and PostgreSQL, and how each of their connections is set up."""

from __future__ import annotations

import logging
import sqlite3
from functools import partial
from types import ModuleType
from typing import Any

from pydantic_core import from_json, to_json
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError

from app.store.db.database_file import DatabaseFile
from app.store.db.driver_errors import UnreadableValue, hide_row

log = logging.getLogger("cyberimage.store")

CONNECT_TIMEOUT_SECONDS = 5
WAL_PAGES = 4000  # 16 MB: the queue keeps rewriting the same pages, and a checkpoint writes each only once
WAL_BUG_FIXED = (3, 51, 3)  # https://sqlite.org/wal.html#walresetbug


def sqlite_module() -> ModuleType:
    """The newest SQLite available: the pinned `pysqlite3` wheel, else Python's.

    Versions 3.7.0 to 3.51.2 can, rarely, corrupt a database that several processes write and checkpoint at once, and
    Python usually links the distribution's old one. Without the wheel a warning is logged.
    """
    try:
        import pysqlite3

        module: ModuleType = pysqlite3
    except ImportError:
        module = sqlite3
    if tuple(module.sqlite_version_info) < WAL_BUG_FIXED:
        log.warning(
            "SQLite %s has the WAL-reset bug (fixed in 3.51.3). Install the pysqlite3 package, or use PostgreSQL.",
            module.sqlite_version,
        )
    return module


def _read_json(stored: str) -> Any:
    try:
        return from_json(stored)
    except ValueError as error:  # only our own JSON is stored
        raise UnreadableValue(f"stored JSON cannot be read: {error}") from None


class Serialized(str):
    """JSON that was written before: of ten thousand rows it would hold up other writers."""

    __slots__ = ()


def _write_json(value: Any) -> str:
    return value if isinstance(value, Serialized) else to_json(value).decode()


_JSON: dict[str, Any] = {  # pydantic's: several times as fast as Python's, and every job row has four
    "json_serializer": _write_json,
    "json_deserializer": _read_json,
}


def postgres_engine(url: URL, lock_timeout: float) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,  # parameters hold prompts, which must not be logged
        pool_size=8,
        max_overflow=24,  # PostgreSQL allows 100 connections by default, shared by all processes
        **_JSON,
        pool_pre_ping=True,  # the server may have been restarted
        connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS, "application_name": "cyberimage"},
    )
    event.listen(engine, "handle_error", hide_row)
    event.listen(engine, "connect", partial(_limit_lock_waits, seconds=lock_timeout))
    return engine


def _limit_lock_waits(connection: Any, _record: Any, *, seconds: float) -> None:
    """Have PostgreSQL give up waiting for a lock after `seconds`."""
    before, connection.autocommit = connection.autocommit, True
    execute_raw(connection, f"SET lock_timeout = {seconds * 1000:.0f}")
    connection.autocommit = before


def sqlite_engine(module: ModuleType, file: DatabaseFile, lock_timeout: float) -> Engine:
    path = file.path
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        hide_parameters=True,
        **_JSON,
        module=module,
        creator=lambda: module.connect(
            file.connect_url(), uri=True, timeout=lock_timeout, isolation_level=None, check_same_thread=False
        ),
        pool_size=8,
        max_overflow=56,
        pool_reset_on_return=None,  # connections are returned between transactions
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        if not path.exists() or not path.stat().st_size:  # on an existing file it has no effect, but waits for writers
            execute_raw(connection, "PRAGMA auto_vacuum=INCREMENTAL")
        for pragma in (
            "journal_mode=WAL",
            "foreign_keys=ON",
            f"wal_autocheckpoint={WAL_PAGES}",
            f"journal_size_limit={WAL_PAGES * 4096}",
            "temp_store=MEMORY",
        ):
            execute_raw(connection, f"PRAGMA {pragma}")
        file.remember()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # Not SQLAlchemy's AUTOCOMMIT level: resetting it would restore the driver's implicit BEGINs.
        if not connection.get_execution_options().get("reads"):
            try:  # a raw cursor, because it runs in every write
                execute_raw(connection.connection.dbapi_connection, "BEGIN IMMEDIATE")
            except module.OperationalError as error:
                raise OperationalError("BEGIN IMMEDIATE", None, error) from error

    return engine


def execute_raw(connection: Any, statement: str) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute(statement)
    finally:
        cursor.close()
