"""The compared queues: ours, huey's SqliteHuey, and plain one-row commits. Each `cycle` is one job from start to
end."""

from __future__ import annotations

import pickle
import sqlite3
import uuid
from pathlib import Path
from typing import Protocol

from huey.storage import SqliteStorage

from app.core.output import Output
from app.store.db.ids import new_id
from bench.store.history import REQUEST, Stores

COMMITS_PER_CYCLE = 3  # enqueue, claim, complete


class Contender(Protocol):
    def cycle(self) -> None:
        """Enqueue a job, claim one, store its result: each committed with synchronous=FULL."""


class Ours:
    def __init__(self, folder: Path) -> None:
        self._stores = Stores(folder / "ours.db")
        self._worker = uuid.uuid4().hex

    @staticmethod
    def prepare(folder: Path, ended: int) -> None:
        Stores(folder / "ours.db").write_past(ended)

    def cycle(self) -> None:
        self._stores.jobs.enqueue(REQUEST, client_id=self._worker)
        claim = self._stores.claims.claim(self._worker)
        if claim is not None:
            output = _output(claim.job_id)
            self._stores.claims.complete(claim, [output], timings={"generating": 1.0, "loading_model": 2.0})


class Huey:
    """As huey's consumer does: enqueue, dequeue (which deletes), put the result."""

    def __init__(self, folder: Path) -> None:
        self._storage = SqliteStorage(filename=str(folder / "huey.db"), fsync=True, timeout=30, strict_fifo=True)

    @staticmethod
    def prepare(folder: Path, ended: int) -> None:
        Huey(folder)
        connection = sqlite3.connect(folder / "huey.db")
        with connection:
            connection.execute(
                "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)"
                " INSERT INTO kv SELECT 'huey', printf('0%031x', n), zeroblob(700) FROM numbers WHERE ? > 0",
                (ended, ended),
            )
        connection.close()

    def cycle(self) -> None:
        name = uuid.uuid4().hex
        self._storage.enqueue(pickle.dumps((name, REQUEST.model_dump())))
        data = self._storage.dequeue()
        if data is not None:
            job_id, _ = pickle.loads(data)
            self._storage.put_data(job_id, pickle.dumps(vars(_output(job_id))))


class RawCommits:
    """The lower bound: three commits of one row each, by the driver alone."""

    def __init__(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / "raw.db", timeout=30, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, data BLOB)")

    @staticmethod
    def prepare(folder: Path, ended: int) -> None:
        RawCommits(folder)

    def cycle(self) -> None:
        for _ in range(COMMITS_PER_CYCLE):
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("INSERT INTO rows (data) VALUES (zeroblob(700))")
            self._connection.execute("COMMIT")


CONTENDERS: dict[str, type[Ours] | type[Huey] | type[RawCommits]] = {"ours": Ours, "huey": Huey, "raw": RawCommits}


def _output(job_id: str) -> Output:
    name = new_id()
    return Output(
        id=name,
        job_id=job_id,
        index=0,
        media="image",
        model_id="demo",
        path=f"2026/01/02/{name}.png",
        thumbnail_path=f"2026/01/02/{name}.thumbnail.webp",
        mime_type="image/png",
        width=512,
        height=512,
        bytes=400_000,
        sha256="0" * 64,
        seed=7,
        manifest={"prompt": REQUEST.prompt, "settings": REQUEST.settings()},
    )
