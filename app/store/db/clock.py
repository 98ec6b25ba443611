"""`now()`: the database's clock in SQL, so that leases agree even if the clocks of machines differ."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


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
