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
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Double, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from app.errors import DatabaseReadOnly
from app.store.db.database_file import DatabaseFile
from app.store.db.driver_errors import DriverErrors
from app.store.db.engines import WAL_PAGES, execute_raw, postgres_engine, sqlite_engine, sqlite_module
from app.store.db.writer_lock import writer_lock

log = logging.getLogger("cyberimage.store")

LOCK_TIMEOUT_SECONDS = 30.0  # how long a lock of another program is waited for
_QUICK_SECONDS = 0.05  # a shorter wait at the writer lock is not taken off: it would cost two statements
CHECKPOINT_TIMEOUT_SECONDS = 0.5  # while it waits for readers, all writers are blocked


class Database:
    """One database, shared by all threads of a process. Open it after a fork, never before.

    `lock_timeout` is how many seconds a statement waits for a lock that another program holds.
    """

    def __init__(self, url: str, *, lock_timeout: float | None = None) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._lock_timeout = LOCK_TIMEOUT_SECONDS if lock_timeout is None else lock_timeout
        self._file: DatabaseFile | None = None  # of SQLite
        self.read_only = False  # result of the last write
        if self.is_sqlite:
            path = Path(self.url.database or "").resolve()
            path.parent.mkdir(parents=True, exist_ok=True)
            module = sqlite_module()
            recovery = f"recover what can be read with `sqlite3 {path.name} .recover`."
            self.errors = DriverErrors(path.name, recovery, module.Error)
            self._file = DatabaseFile(path)
            self.engine = sqlite_engine(module, self._file, self._lock_timeout)
        else:
            self.errors = DriverErrors(str(self.url.database), "see PostgreSQL's manual on pg_amcheck.")
            self.engine = postgres_engine(self.url, self._lock_timeout)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for SELECTs, each of which sees the latest commit."""
        options: dict[str, Any] = {"reads": True} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        with self.errors.translated():
            self._check_file()
            with self.engine.connect().execution_options(**options) as connection:
                yield connection

    def fetch_one(self, sql: str, parameters: Any) -> Any:
        """The first row of a SELECT by the driver alone, or None: for queries that run a thousand times a second, where
        SQLAlchemy would double the cost."""
        if not self.is_sqlite:
            with self.read() as connection:
                return connection.exec_driver_sql(sql, parameters).first()
        with self.errors.translated():
            self._check_file()
            pooled = self.engine.raw_connection()
            try:
                cursor = pooled.cursor()
                cursor.execute(sql, parameters)
                row = cursor.fetchone()
                cursor.close()  # an open cursor would block the checkpoint
                return row
            finally:
                pooled.close()

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """One transaction: committed when the block ends, rolled back when it raises.

        With `durable` the commit is on the disk when the block has ended.
        """
        with self._track_read_only(), self.errors.translated():
            if self._file is not None:
                with self._write_to(self._file, durable=durable) as connection:
                    yield connection
                return
            with self.engine.begin() as connection:
                if not durable:
                    connection.execute(text("SET LOCAL synchronous_commit = off"))
                yield connection

    @contextmanager
    def _write_to(self, file: DatabaseFile, *, durable: bool) -> Iterator[Connection]:
        """A transaction on SQLite. The writer lock and SQLite's own are waited for no longer than `lock_timeout`
        together."""
        give_up_at = time.monotonic() + self._lock_timeout
        with file.checked(), writer_lock(file.path, self._lock_timeout / 2), self.engine.connect() as connection:
            # The raw cursor: through SQLAlchemy the pragma would begin the transaction that it must precede.
            driver = connection.connection.dbapi_connection
            execute_raw(driver, f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            left = give_up_at - time.monotonic()
            with self.busy_timeout(connection, left if left < self._lock_timeout - _QUICK_SECONDS else None):
                transaction = connection.begin()
            with transaction:
                yield connection

    @contextmanager
    def busy_timeout(self, connection: Connection, seconds: float | None) -> Iterator[None]:
        """Other seconds for which SQLite waits for locks; None changes nothing."""
        if seconds is None:
            yield
            return
        driver = connection.connection.dbapi_connection
        execute_raw(driver, f"PRAGMA busy_timeout={max(0.0, seconds) * 1000:.0f}")
        try:
            yield
        finally:
            execute_raw(driver, f"PRAGMA busy_timeout={self._lock_timeout * 1000:.0f}")

    @contextmanager
    def begin_alone(self) -> Iterator[Connection]:
        """A transaction for migrations, which waits for locks: on PostgreSQL as long as it takes."""
        with self.errors.translated():
            self._check_file()
            with self.engine.connect() as connection:
                with self.busy_timeout(connection, LOCK_TIMEOUT_SECONDS if self.is_sqlite else None):
                    transaction = connection.begin()
                with transaction:
                    if not self.is_sqlite:
                        connection.execute(text("SET LOCAL lock_timeout = 0"))
                    yield connection

    def _check_file(self) -> None:
        """Raises DatabaseUnavailable if the file of SQLite was removed or replaced."""
        if self._file is not None:
            self._file.check()

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
        if self._file is None:
            return
        wal = self._file.path.with_name(f"{self._file.path.name}-wal")
        grown = wal.exists() and wal.stat().st_size > WAL_PAGES * 4096
        with self.read() as connection:
            driver = connection.connection.dbapi_connection
            with self.busy_timeout(connection, CHECKPOINT_TIMEOUT_SECONDS):
                execute_raw(driver, f"PRAGMA wal_checkpoint({'TRUNCATE' if grown else 'PASSIVE'})")

    def free_bytes(self) -> int:
        """Free space of the disk of a SQLite file; of a server's disk nothing is known."""
        if self._file is None:
            return sys.maxsize
        try:
            return shutil.disk_usage(self._file.path.parent).free
        except OSError:  # its mount is gone
            return 0

    def close(self) -> None:
        self.engine.dispose()
        if self._file is not None:
            self._file.forget()


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
