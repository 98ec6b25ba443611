"""The connection to SQLite or PostgreSQL: how a read, a write and a promise are made on each.

`read()` is autocommit: no transaction stays open behind a caller, so the WAL can always be checkpointed.
`write()` is one short transaction. On SQLite it starts with BEGIN IMMEDIATE (a deferred BEGIN that reads and then
writes fails with SQLITE_BUSY_SNAPSHOT whatever the busy timeout), behind a gate: SQLite's own lock waits are unfair,
and a queue of writers at a file lock brings the worst wait from seconds to milliseconds.
`write(durable=False)` is for what nobody was promised (progress, heartbeats): it survives a crash of the process, and
may be lost by a power cut.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic_core import from_json, to_json
from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import DatabaseFull, DatabaseReadOnly, DatabaseUnavailable
from app.store.db.writer_lock import writer_lock

log = logging.getLogger("cyberimage.store")

_PG_DISK_FULL, _PG_READ_ONLY = "53100", "25006"
_JSON: dict[str, Any] = {  # pydantic's: several times as fast as Python's own, and every job holds four
    "json_serializer": lambda value: to_json(value).decode(),
    "json_deserializer": from_json,
}

BUSY_TIMEOUT_SECONDS = 30.0
CHECKPOINT_PATIENCE_SECONDS = 0.5  # while it waits for readers, nobody can write
CONNECT_TIMEOUT_SECONDS = 5
WAL_PAGES = 4000  # 16 MB: the queue rewrites the same pages over and over, and a checkpoint writes each only once
WAL_BUG_FIXED = (3, 51, 3)  # https://sqlite.org/wal.html#walresetbug


def sqlite_module() -> ModuleType:
    """The newest SQLite at hand: the pinned `pysqlite3` wheel, else Python's own.

    Versions 3.7.0 to 3.51.2 can, rarely, corrupt a database that several processes write and checkpoint at once, and
    Python usually links the distribution's old one. Hence the wheel; without it we warn and go on.
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
        self._path: Path | None = None  # of SQLite's file
        self.read_only = False  # what the last write found
        if self.is_sqlite:
            path = Path(self.url.database or "").resolve()
            path.parent.mkdir(parents=True, exist_ok=True)
            self.engine = _sqlite_engine(path)
            self._path = path
        else:
            self.engine = create_engine(
                self.url,
                hide_parameters=True,  # they hold prompts, which the log may not
                pool_size=8,
                max_overflow=24,  # PostgreSQL gives out 100 connections by default, to all our processes together
                **_JSON,
                pool_pre_ping=True,  # the server may have been restarted since
                connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS, "application_name": "cyberimage"},
            )
            event.listen(self.engine, "handle_error", _hide_row)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for SELECTs, each seeing the latest commit."""
        options: dict[str, Any] = {"reads": True} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        with translated(), self.engine.connect().execution_options(**options) as connection:
            yield connection

    def look_up(self, sql: str, parameters: Any) -> Any:
        """The first row of a SELECT in the driver's own words, or None: for what is asked a thousand times a
        second, where SQLAlchemy's part would cost as much as the rest."""
        if not self.is_sqlite:
            with self.read() as connection:
                return connection.exec_driver_sql(sql, parameters).first()
        with translated():
            pooled = self.engine.raw_connection()
            try:
                cursor = pooled.cursor()
                cursor.execute(sql, parameters)
                row = cursor.fetchone()
                cursor.close()  # an open one would hold up the checkpoint
                return row
            except sqlite_module().Error as error:
                raise OperationalError(sql, parameters, error, hide_parameters=True) from error
            finally:
                pooled.close()

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """One transaction: committed when the block ends, rolled back when it raises.

        With `durable` the commit has reached the disk when the block has ended.
        """
        with self._told(), translated(), writer_lock(self._path), self.engine.connect() as connection:
            if self.is_sqlite:
                # The raw cursor: through SQLAlchemy the pragma would begin the transaction that it must precede.
                level = "FULL" if durable else "NORMAL"
                _execute_raw(connection.connection.dbapi_connection, f"PRAGMA synchronous={level}")
            with connection.begin():
                if not self.is_sqlite and not durable:
                    connection.execute(text("SET LOCAL synchronous_commit = off"))
                yield connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Remember whether the database takes writes, and log it when that changes: workers try twice a second."""
        try:
            yield
        except DatabaseReadOnly as error:
            if not self.read_only:
                log.error("The database is read-only: %s", error.__cause__)
            self.read_only = True
            raise
        if self.read_only:
            log.info("The database takes writes again")
            self.read_only = False

    def checkpoint(self) -> None:
        """Move what is in SQLite's WAL to the database, and cut it short if it has grown. A reader may postpone it.

        Not always: a WAL that keeps its size is overwritten in place, which commits faster than growing it again.
        """
        if self._path is None:
            return
        wal = self._path.with_name(f"{self._path.name}-wal")
        grown = wal.exists() and wal.stat().st_size > WAL_PAGES * 4096
        with self.read() as connection:
            driver = connection.connection.dbapi_connection
            _execute_raw(driver, f"PRAGMA busy_timeout={CHECKPOINT_PATIENCE_SECONDS * 1000:.0f}")
            try:
                _execute_raw(driver, f"PRAGMA wal_checkpoint({'TRUNCATE' if grown else 'PASSIVE'})")
            finally:
                _execute_raw(driver, f"PRAGMA busy_timeout={BUSY_TIMEOUT_SECONDS * 1000:.0f}")

    def close(self) -> None:
        self.engine.dispose()


@contextmanager
def translated() -> Iterator[None]:
    """The driver's complaints as ours. After a write that ends so, the commit may or may not have happened."""
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
    """PostgreSQL's DETAIL and CONTEXT quote the row or the JSON that it refused, prompts included."""
    original, wrapped = context.original_exception, context.sqlalchemy_exception
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    if primary:
        original.args = (primary,)
        if wrapped is not None:
            wrapped.args = (f"({type(original).__name__}) {primary}",)


def _read_only() -> DatabaseReadOnly:
    return DatabaseReadOnly(
        "The database is read-only, so nothing can be accepted or finished. Check its disk and who may write there.",
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
        pool_reset_on_return=None,  # every connection comes back between transactions
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "isolation_level": None, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        if not path.exists() or not path.stat().st_size:  # later it changes nothing, but would wait for writers
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
        # Not SQLAlchemy's AUTOCOMMIT level: putting that back would restore the driver's own implicit BEGINs.
        if not connection.get_execution_options().get("reads"):
            try:  # the raw cursor again: this is in the way of every write
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
