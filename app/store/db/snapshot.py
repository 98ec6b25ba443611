"""A whole database into a file, consistent while everybody works, and back again.

SQLite copies by its own online backup, PostgreSQL by pg_dump, pg_restore and psql of the machine it runs on.
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
from app.store.db.database import Database, sqlite_module
from app.store.db.schema import metadata


def file_name(database: Database) -> str:
    return "database.sqlite" if database.is_sqlite else "database.pgdump"


def save(database: Database, file: Path) -> None:
    """Copy `database` to the new `file`, which is on the disk when this returns. Raises SnapshotFailed."""
    if database.is_sqlite:
        _copy_sqlite(Path(database.url.database or ""), file)
        with closing(sqlite_module().connect(file)) as copy:
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, which can be read where nothing can be written
    else:
        _run("pg_dump", ["--format=custom", "--no-owner", f"--file={file}"], database.url)
    with file.open("rb") as written:
        os.fsync(written.fileno())


def load(file: Path, database: Database) -> None:
    """Replace all of `database` by the copy in `file`, in one transaction. Raises SnapshotFailed."""
    if database.is_sqlite:
        _copy_sqlite(file, Path(database.url.database or ""))
        return
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "restore.sql")
        _run("pg_restore", ["--clean", "--if-exists", "--no-owner", f"--file={script}", str(file)], database.url)
        # An older backup knows nothing of tables that came later and hold on to those that it is to replace.
        tables = ", ".join(table.name for table in metadata.sorted_tables)
        script.write_text(f"DROP TABLE IF EXISTS {tables} CASCADE;\n{script.read_text()}")
        quiet = ["--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]
        _run("psql", [*quiet, f"--dbname={database.url.database}", f"--file={script}"], database.url)


def _copy_sqlite(source: Path, target: Path) -> None:
    """Through SQLite, which sees to it that readers and writers of both notice nothing but a wait."""
    module = sqlite_module()
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(module.connect(source, timeout=30)) as old, closing(module.connect(target, timeout=30)) as new:
            old.backup(new)  # in one step: in several, every write of somebody else would make it begin anew
            if (answer := new.execute("PRAGMA quick_check").fetchone()[0]) != "ok":
                raise SnapshotFailed(f"The copy of the database is damaged: {answer}")
    except module.Error as error:
        raise SnapshotFailed(f"SQLite could not copy {source.name}: {error}") from error


def _run(program: str, options: list[str], url: URL) -> None:
    if shutil.which(program) is None:
        raise SnapshotFailed(
            f"{program} is not on PATH. Install PostgreSQL's client programs, of the server's version or a newer one."
        )
    done = subprocess.run([program, *options], env=_environment(url), capture_output=True, text=True)
    if done.returncode:
        raise SnapshotFailed(f"{program} failed: {done.stderr.strip()[-500:]}")


def _environment(url: URL) -> Mapping[str, str]:
    """The connection as libpq reads it: on the command line everybody on the machine could read the password."""
    known = {
        "PGHOST": url.host or str(url.query.get("host", "")),
        "PGPORT": str(url.port or ""),
        "PGUSER": url.username or "",
        "PGPASSWORD": str(url.password or ""),
        "PGDATABASE": url.database or "",
    }
    return {**os.environ, **{name: value for name, value in known.items() if value}}
