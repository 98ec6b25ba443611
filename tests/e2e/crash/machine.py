"""Faults of the machine under a crash test, one at a time, each for seconds: disks, the database, locks, clocks."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

from app.store.db.engines import sqlite_module
from tests.e2e.crash.clock import JUMPS

Fault = tuple[Callable[[], None], Callable[[], None]]  # what begins it and what ends it
LASTING_SECONDS = (2.0, 5.0)
PAUSE_SECONDS = 2.0  # between two faults, on average


class Machine:
    """`look` begins and ends faults in their turn, so that a long run has each of them often. `left_out` says which
    could not be tried here and why."""

    def __init__(self, faults: Mapping[str, Fault], pause: float = PAUSE_SECONDS) -> None:
        self._faults = faults
        self._pause = pause
        self._turns: list[str] = []
        self._present: str | None = None
        self._next = time.monotonic() + self._pause * random.uniform(0.5, 1.5)
        self.done: Counter[str] = Counter()
        self.left_out: list[str] = []

    def look(self) -> None:
        if not self._faults or time.monotonic() < self._next:
            return
        if self._present is not None:
            self.calm()
            self._next = time.monotonic() + self._pause * random.uniform(0.5, 1.5)
            return
        if not self._turns:
            self._turns = random.sample(sorted(self._faults), len(self._faults))
        self._present = self._turns.pop()
        self._faults[self._present][0]()
        self._next = time.monotonic() + random.uniform(*LASTING_SECONDS)

    def calm(self) -> None:
        """End the present fault."""
        if self._present is not None:
            self._faults[self._present][1]()
            self.done[self._present] += 1
            self._present = None


def sqlite_faults(path: Path) -> Mapping[str, Fault]:
    held: list[Any] = []

    def lock() -> None:
        held.append(sqlite_module().connect(path, isolation_level=None, timeout=2))
        with contextlib.suppress(sqlite_module().OperationalError):  # a frozen process holds it: as good as we
            held[-1].execute("BEGIN IMMEDIATE")

    def unlock() -> None:
        held.pop().close()

    away = path.with_name("away")
    return {
        "write lock held": (lock, unlock),
        "database file removed and put back": (lambda: os.rename(path, away), lambda: os.rename(away, path)),
    }


def postgres_faults(url: str, server: Any) -> Mapping[str, Fault]:
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    held: list[psycopg.Connection] = []

    def lock() -> None:
        held.append(psycopg.connect(address))
        with contextlib.suppress(psycopg.errors.LockNotAvailable):  # a frozen process holds it: as good as we
            held[-1].execute("SET lock_timeout = '2s'")
            held[-1].execute("LOCK TABLE jobs IN EXCLUSIVE MODE")

    def unlock() -> None:
        held.pop().close()

    def cut() -> None:
        with contextlib.suppress(psycopg.Error), psycopg.connect(address, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    return {
        "table lock held": (lock, unlock),
        "connections cut": (cut, cut),
        "database server away": (server.stop, server.ensure_postgres_running),
    }


def clock_faults(file: Path) -> Mapping[str, Fault]:
    """The clock of all processes that follow `file` (see clock.py)."""

    def fault(seconds: float) -> Fault:
        return lambda: _write(file, seconds), lambda: _write(file, 0.0)

    return {f"clock {name}": fault(seconds) for name, seconds in JUMPS.items()}


def _write(file: Path, seconds: float) -> None:
    """Whole or not at all: it is read all the time."""
    new = file.with_name("clock.new")
    new.write_text(str(seconds))
    new.replace(file)
