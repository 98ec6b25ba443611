"""Snapshots: copy a whole database to a file, consistently and while it is in use, and restore it.

SQLite uses its online backup API, PostgreSQL the programs pg_dump, pg_restore and psql.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL

from app.errors import SnapshotFailed
from app.store.db.database import Database
from app.store.db.engines import sqlite_module
from app.store.db.schema import metadata


def file_name(database: Database) -> str:
    return "database.sqlite" if database.is_sqlite else "database.pgdump"


def save(database: Database, file: Path) -> None:
    """Copy `database` to the new `file`, synced to disk. Raises SnapshotFailed."""
    if database.is_sqlite:
        _copy_sqlite(Path(database.url.database or ""), file)
        with closing(sqlite_module().connect(file)) as copy:
            copy.execute("PRAGMA journal_mode=DELETE")  # a single file, readable on read-only media
    else:
        _run("pg_dump", ["--format=custom", "--no-owner", f"--file={file}"], database.url)
    with file.open("rb") as written:
        os.fsync(written.fileno())


def load(file: Path, database: Database) -> None:
    """Replace all of `database` by the snapshot in `file`, in one transaction. Raises SnapshotFailed."""
    if database.is_sqlite:
        _copy_sqlite(file, Path(database.url.database or ""))
        return
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "restore.sql")
        _run("pg_restore", ["--clean", "--if-exists", "--no-owner", f"--file={script}", str(file)], database.url)
        # An older backup does not contain later tables, whose foreign keys would block replacing the older ones.
        tables = ", ".join(table.name for table in metadata.sorted_tables)
        script.write_text(f"DROP TABLE IF EXISTS {tables} CASCADE;\n{script.read_text()}")
        quiet = ["--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]
        _run("psql", [*quiet, f"--dbname={database.url.database}", f"--file={script}"], database.url)


def _copy_sqlite(source: Path, target: Path) -> None:
    """Copy with SQLite's backup API: concurrent readers and writers of both files only have to wait."""
    module = sqlite_module()
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(module.connect(source, timeout=30)) as old, closing(module.connect(target, timeout=30)) as new:
            old.backup(new)  # in one step: in several, every concurrent write would restart it
            if (answer := new.execute("PRAGMA quick_check").fetchone()[0]) != "ok":
                raise SnapshotFailed(f"The copy of the database is damaged: {answer}")
    except module.Error as error:
        raise SnapshotFailed(f"SQLite could not copy {source.name}: {error}") from error


def _run(program: str, options: list[str], url: URL) -> None:
    if shutil.which(program) is None:
        raise SnapshotFailed(
            f"{program} is not on PATH. Install PostgreSQL's client programs of the server's version or newer."
        )
    done = subprocess.run([program, *options], env=_environment(url), capture_output=True, text=True)
    if done.returncode:
        raise SnapshotFailed(f"{program} failed: {done.stderr.strip()[-500:]}")


def _environment(url: URL) -> Mapping[str, str]:
    """Connection parameters for libpq as environment: on the command line all users could read the password."""
    known = {
        "PGHOST": url.host or str(url.query.get("host", "")),
        "PGPORT": str(url.port or ""),
        "PGUSER": url.username or "",
        "PGPASSWORD": str(url.password or ""),
        "PGDATABASE": url.database or "",
    }
    return {**os.environ, **{name: value for name, value in known.items() if value}}
