"""What a database wants now and then: fresh statistics, and on SQLite the space of removed rows given back."""

from __future__ import annotations

import logging

from sqlalchemy import text

from app.store.db.database import Database
from app.store.db.schema import metadata

PAGES_PER_STEP = 1000  # 4 MB: a fraction of a second for whoever wants to write meanwhile
FREE_SHARE = 0.25  # with fewer free pages than this, leave them: they are about to be used again

log = logging.getLogger("cyberimage.store")


def vacuum_and_analyze(database: Database) -> None:
    """Raises DatabaseUnavailable."""
    if database.is_sqlite:
        _give_space_back(database)
        with database.write(durable=False) as connection:
            connection.execute(text("PRAGMA analysis_limit=400"))
            connection.execute(text("PRAGMA optimize=0x10002"))  # all tables, not only those this connection knows
        return
    with database.read() as connection:  # autocommit
        for table in metadata.sorted_tables:
            connection.execute(text(f"ANALYZE {table.name}"))


def _give_space_back(database: Database) -> None:
    """Shrink the file step by step, when much of it is free and it was made for that (by `Database`, since 0.1)."""
    while True:
        with database.write(durable=False) as connection:
            mode, pages, free = (
                int(connection.scalar(text(f"PRAGMA {name}")) or 0)
                for name in ("auto_vacuum", "page_count", "freelist_count")
            )
            if mode != 2 or free < PAGES_PER_STEP or free < FREE_SHARE * pages:
                return
            driver = connection.connection.dbapi_connection  # fetching moves it on; SQLAlchemy sees nothing to fetch
            driver.execute(f"PRAGMA incremental_vacuum({PAGES_PER_STEP})").fetchall()  # type: ignore[union-attr]
