"""A clock that is set while the processes of a crash test run: theirs, and with it that of SQLite."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

JUMPS = {"one day ahead": 86400.0, "three hours back": -10800.0, "two days back": -172800.0, "ten minutes ahead": 600.0}


def follow(file: Path) -> None:
    """Have this process' clock differ from the machine's by the seconds in `file`. Call it before anything connects."""
    machine_time = time.time

    def offset() -> float:
        try:
            return float(file.read_text() or 0)
        except FileNotFoundError:
            return 0.0

    time.time = lambda: machine_time() + offset()

    from sqlalchemy.ext.compiler import compiles

    from app.store.db.database import now

    @compiles(now, "sqlite")
    def _sqlite(_element: now, _compiler: Any, **_: Any) -> str:
        return "((julianday('now') - 2440587.5) * 86400.0 + clock_offset())"

    @event.listens_for(Engine, "connect")
    def _define(connection: Any, _record: Any) -> None:
        if hasattr(connection, "create_function"):
            connection.create_function("clock_offset", 0, offset)
