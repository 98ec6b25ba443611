"""Connections and transactions on SQLite or PostgreSQL.

`read()` is autocommit: no transaction stays open, so the WAL can always be checkpointed.
`write()` is one short transaction. On SQLite it starts with BEGIN IMMEDIATE (a deferred BEGIN that reads and then
writes fails with SQLITE_BUSY_SNAPSHOT whatever the busy timeout), behind a writer lock: SQLite's own lock waits are
unfair, and queueing writers at a file lock cuts the longest wait from seconds to milliseconds.
`write(durable=False)` is for what was not promised to a client (progress, heartbeats): it survives a crash of the
process, but may be lost in a power cut.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic_core import from_json, to_json
from sqlalchemy import URL, Connection, Double, Engine, create_engine, event, text
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from app.errors import DatabaseFull, DatabaseReadOnly, DatabaseUnavailable
from app.store.db.writer_lock import writer_lock

log = logging.getLogger("cyberimage.store")

_PG_DISK_FULL, _PG_READ_ONLY = "53100", "25006"
_JSON: dict[str, Any] = {  # pydantic's: several times as fast as Python's, and every job row has four
    "json_serializer": lambda value: to_json(value).decode(),
    "json_deserializer": from_json,
}

BUSY_TIMEOUT_SECONDS = 30.0
CHECKPOINT_TIMEOUT_SECONDS = 0.5  # while it waits for readers, all writers are blocked
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


class Database:
    """One database, shared by all threads of a process. Open it after a fork, never before."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._path: Path | None = None  # of the SQLite file
        self.read_only = False  # result of the last write
        if self.is_sqlite:
            path = Path(self.url.database or "").resolve()
            path.parent.mkdir(parents=True, exist_ok=True)
            self.engine = _sqlite_engine(path)
            self._path = path
        else:
            self.engine = create_engine(
                self.url,
                hide_parameters=True,  # parameters hold prompts, which must not be logged
                pool_size=8,
                max_overflow=24,  # PostgreSQL allows 100 connections by default, shared by all processes
                **_JSON,
                pool_pre_ping=True,  # the server may have been restarted
                connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS, "application_name": "cyberimage"},
            )
            event.listen(self.engine, "handle_error", _hide_row)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for SELECTs, each of which sees the latest commit."""
        options: dict[str, Any] = {"reads": True} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        with translated(), self.engine.connect().execution_options(**options) as connection:
            yield connection

    def fetch_one(self, sql: str, parameters: Any) -> Any:
        """The first row of a SELECT by the driver alone, or None: for queries that run a thousand times a second, where
        SQLAlchemy would double the cost."""
        if not self.is_sqlite:
            with self.read() as connection:
                return connection.exec_driver_sql(sql, parameters).first()
        with translated():
            pooled = self.engine.raw_connection()
            try:
                cursor = pooled.cursor()
                cursor.execute(sql, parameters)
                row = cursor.fetchone()
                cursor.close()  # an open cursor would block the checkpoint
                return row
            except sqlite_module().Error as error:
                raise OperationalError(sql, parameters, error, hide_parameters=True) from error
            finally:
                pooled.close()

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """One transaction: committed when the block ends, rolled back when it raises.

        With `durable` the commit is on the disk when the block has ended.
        """
        with self._track_read_only(), translated(), writer_lock(self._path), self.engine.connect() as connection:
            if self.is_sqlite:
                # The raw cursor: through SQLAlchemy the pragma would begin the transaction that it must precede.
                level = "FULL" if durable else "NORMAL"
                _execute_raw(connection.connection.dbapi_connection, f"PRAGMA synchronous={level}")
            with connection.begin():
                if not self.is_sqlite and not durable:
                    connection.execute(text("SET LOCAL synchronous_commit = off"))
                yield connection

    @contextmanager
    def _track_read_only(self) -> Iterator[None]:
        """Store whether the database is read-only. Log only changes: workers retry twice a second."""
        try:
            yield
        except DatabaseReadOnly as error:
            if not self.read_only:
                log.error("The database is read-only: %s", error.__cause__)
            self.read_only = True
            raise
        if self.read_only:
            log.info("The database is writable again")
            self.read_only = False

    def checkpoint(self) -> None:
        """Checkpoint SQLite's WAL, and truncate it if it has grown. Readers may delay it.

        Not truncated always: a WAL that keeps its size is overwritten in place, which commits faster.
        """
        if self._path is None:
            return
        wal = self._path.with_name(f"{self._path.name}-wal")
        grown = wal.exists() and wal.stat().st_size > WAL_PAGES * 4096
        with self.read() as connection:
            driver = connection.connection.dbapi_connection
            _execute_raw(driver, f"PRAGMA busy_timeout={CHECKPOINT_TIMEOUT_SECONDS * 1000:.0f}")
            try:
                _execute_raw(driver, f"PRAGMA wal_checkpoint({'TRUNCATE' if grown else 'PASSIVE'})")
            finally:
                _execute_raw(driver, f"PRAGMA busy_timeout={BUSY_TIMEOUT_SECONDS * 1000:.0f}")

    def free_bytes(self) -> int:
        """Free space of the disk of a SQLite file; of a server's disk nothing is known."""
        if self._path is None:
            return sys.maxsize
        try:
            return shutil.disk_usage(self._path.parent).free
        except OSError:  # its mount is gone
            return 0

    def close(self) -> None:
        self.engine.dispose()


@contextmanager
def translated() -> Iterator[None]:
    """Translate the driver's errors into `app.errors`. After such an error the commit may or may not have happened."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        if "disk is full" in str(error.orig) or getattr(error.orig, "sqlstate", None) == _PG_DISK_FULL:
            log.error("The disk of the database is full: %s", error.orig)
            raise DatabaseFull("The disk of the database is full. Free some space and try again.") from error
        if "readonly database" in str(error.orig):
            raise _read_only() from error.orig
        log.error("The database does not answer: %s", error.orig)
        raise DatabaseUnavailable("The database does not answer; try again in a moment.", retry_after=5) from error
    except InternalError as error:
        if getattr(error.orig, "sqlstate", None) != _PG_READ_ONLY:
            raise
        raise _read_only() from error.orig
    except PoolTimeout as error:
        log.error("All connections to the database are busy")
        raise DatabaseUnavailable("The database is busy; try again in a moment.", retry_after=5) from error


def _hide_row(context: ExceptionContext) -> None:
    """Remove PostgreSQL's DETAIL and CONTEXT from errors: they quote the refused row or JSON, including prompts."""
    original, wrapped = context.original_exception, context.sqlalchemy_exception
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    if primary:
        original.args = (primary,)
        if wrapped is not None:
            wrapped.args = (f"({type(original).__name__}) {primary}",)


def _read_only() -> DatabaseReadOnly:
    return DatabaseReadOnly(
        "The database is read-only, so no job can be accepted or finished. Check its disk and the file permissions.",
        retry_after=5,
    )


def _sqlite_engine(path: Path) -> Engine:
    module = sqlite_module()
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        hide_parameters=True,
        **_JSON,
        module=module,
        pool_size=8,
        max_overflow=56,
        pool_reset_on_return=None,  # connections are returned between transactions
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "isolation_level": None, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        if not path.exists() or not path.stat().st_size:  # on an existing file it has no effect, but waits for writers
            _execute_raw(connection, "PRAGMA auto_vacuum=INCREMENTAL")
        for pragma in (
            "journal_mode=WAL",
            "foreign_keys=ON",
            f"wal_autocheckpoint={WAL_PAGES}",
            f"journal_size_limit={WAL_PAGES * 4096}",
            "temp_store=MEMORY",
        ):
            _execute_raw(connection, f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # Not SQLAlchemy's AUTOCOMMIT level: resetting it would restore the driver's implicit BEGINs.
        if not connection.get_execution_options().get("reads"):
            try:  # a raw cursor, because it runs in every write
                _execute_raw(connection.connection.dbapi_connection, "BEGIN IMMEDIATE")
            except module.OperationalError as error:
                raise OperationalError("BEGIN IMMEDIATE", None, error) from error

    return engine


def _execute_raw(connection: Any, statement: str) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute(statement)
    finally:
        cursor.close()


class now(FunctionElement[float]):
    """Seconds since the epoch, UTC, at the start of the statement (SQLite: milliseconds; PostgreSQL: microseconds).

    Every `now()` in one statement is the same moment: limits computed from it compare exactly.
    """

    inherit_cache = True  # works for functions only: a ColumnElement subclass would be compiled on every use
    type = Double()


@compiles(now, "sqlite")
def _sqlite(element: now, compiler: Any, **kw: Any) -> str:
    # unixepoch('subsec') would need SQLite 3.42; 2440587.5 is the Julian day of the epoch.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _postgresql(element: now, compiler: Any, **kw: Any) -> str:
    return "CAST(extract(epoch FROM statement_timestamp()) AS double precision)"
