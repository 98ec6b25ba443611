"""Periodic database maintenance: update planner statistics; on SQLite return the space of deleted rows."""

from __future__ import annotations

import logging

from sqlalchemy import text

from app.store.db.database import Database
from app.store.db.schema import metadata

PAGES_PER_STEP = 1000  # 4 MB: blocks writers for a fraction of a second
FREE_SHARE = 0.25  # fewer free pages are kept: they are soon used again

log = logging.getLogger("cyberimage.store")


def vacuum_and_analyze(database: Database) -> None:
    """Raises DatabaseUnavailable."""
    if database.is_sqlite:
        _vacuum(database)
        with database.write(durable=False) as connection:
            connection.execute(text("PRAGMA analysis_limit=400"))
            connection.execute(text("PRAGMA optimize=0x10002"))  # all tables, not only those that this connection used
        return
    with database.read() as connection:  # autocommit
        for table in metadata.sorted_tables:
            connection.execute(text(f"ANALYZE {table.name}"))


def _vacuum(database: Database) -> None:
    """Shrink the file in steps, if many pages are free and it was created with auto_vacuum (by `Database`)."""
    while True:
        with database.write(durable=False) as connection:
            mode, pages, free = (
                int(connection.scalar(text(f"PRAGMA {name}")) or 0)
                for name in ("auto_vacuum", "page_count", "freelist_count")
            )
            if mode != 2 or free < PAGES_PER_STEP or free < FREE_SHARE * pages:
                return
            driver = connection.connection.dbapi_connection  # it advances by fetching, which SQLAlchemy would not do
            driver.execute(f"PRAGMA incremental_vacuum({PAGES_PER_STEP})").fetchall()  # type: ignore[union-attr]
