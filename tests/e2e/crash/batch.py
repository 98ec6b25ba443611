"""A crash test of a batch: everything is killed at once, several times; each place must have one outcome in the end."""

from __future__ import annotations

import contextlib
import hashlib
import io
import subprocess
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import func, select

from app.store.db.database import Database
from app.store.db.schema import jobs
from tests.ports import free_port
from tests.processes import Processes, family_of, wait_gone
from tests.waiting import wait_until

WORKERS = 3
PATIENCE_SECONDS = 120.0


@dataclass
class Outcome:
    """`pictures` counts the pictures of each place; `kills` at how many percent everything was killed."""

    jobs: int
    counts: dict[str, int]
    pictures: Counter[int]
    damaged: int
    kills: list[int] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        one_each = len(self.pictures) == self.jobs and set(self.pictures.values()) == {1}
        return one_each and self.counts["COMPLETED"] == self.jobs and not self.damaged


class BatchCrashTest:
    """A service with workers whose engine needs no weights."""

    def __init__(self, folder: Path, database_url: str, *, workers: int = WORKERS, kills: bool = True) -> None:
        self._environment = {
            "TRUSTED_PROXIES": "1",  # so that one client can be several
            "PORT": str(free_port()),
            "DATABASE_URL": database_url,
            "IMAGES_DIR": str(folder / "images"),
            "VIDEOS_DIR": str(folder / "videos"),
            "LOG_DIR": str(folder / "logs"),
            "MODEL_CACHE_DIR": str(folder / "models"),
            "DISK_FLOOR_BYTES": "0",
            "OPENBLAS_NUM_THREADS": "1",  # a process with threads is no good to fork
            "LEASE_SECONDS": "1.5",
            "HEARTBEAT_SECONDS": "0.3",
            "WORKER_POLL_SECONDS": "0.3",
            "MAX_ATTEMPTS": "100",  # killed attempts count too
            "DEFAULT_MODEL_ID": "fake",
            "MODEL_FAKE": 'fake;builtin;Fake;local;false;{"steps": {"min": 1, "max": 50, "default": 3}}',
        }
        (folder / "roles").mkdir()
        failpoints = "after_file_rename=kill:0.02,after_commit=kill:0.02" if kills else ""
        self._command = ("-m", "tests.e2e.crash.run_entry", str(workers), failpoints, str(folder))
        self._processes = Processes(folder)
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{self._environment['PORT']}", timeout=60)
        self._running: subprocess.Popen[bytes] | None = None

    def run(self, number: int, kills: int) -> Outcome:
        """Submit a batch of so many jobs, kill everything `kills` times while it runs, and look at what is there."""
        try:
            self._start()
            body = {"prompt": "a boat", "seeds": "each", "axes": [_prompts(number)], "settings": {"seed": 1}}
            answer = self._client.post("/api/batches", json={**body, "prompt": ""})
            assert answer.status_code == 202, answer.text
            batch_id, killed = answer.json()["batch_id"], list[int]()
            for kill in range(kills):
                self._wait_for(batch_id, 100 * (kill + 1) // (kills + 1))
                killed.append(self._status(batch_id)["percent"])
                self._kill_everything()
                self._start()
            self._wait_for(batch_id, 100)
            return self._outcome(batch_id, killed)
        finally:
            self._processes.close()

    def jobs_before_another(self, number: int, others: int) -> list[int]:
        """How many jobs of a batch are begun between the submission and the begin of each of `others` jobs of another
        client, which are submitted one after the other."""
        try:
            self._start()
            body = {"prompt": "", "axes": [_prompts(number)]}
            batch_id, mine = self._client.post("/api/batches", json=body).json()["batch_id"], list[str]()
            for _ in range(others):
                other = {"X-Forwarded-For": "10.9.9.9"}
                answer = self._client.post("/api/generate", json={"prompt": "mine"}, headers=other)
                mine.append(answer.json()["job_id"])
                wait_until(lambda: self._has_ended(mine[-1]), "it did not end", patience=60)
            assert self._status(batch_id)["status"] == "RUNNING", "the batch was too small"
        finally:
            self._processes.close()
        return self._begun_before(batch_id, mine)

    def _has_ended(self, job_id: str) -> bool:
        return self._client.get(f"/api/status/{job_id}").json()["completed_at"] is not None

    def _begun_before(self, batch_id: str, job_ids: list[str]) -> list[int]:
        database = Database(self._environment["DATABASE_URL"])
        found = []
        with database.read() as connection:
            for job_id in job_ids:
                own = connection.execute(select(jobs.c.created_at, jobs.c.started_at).where(jobs.c.id == job_id)).one()
                between = jobs.c.started_at.between(own.created_at, own.started_at)
                query = select(func.count()).where(jobs.c.batch_id == batch_id, between)
                found.append(connection.scalar(query) or 0)
        database.close()
        return found

    def _start(self) -> None:
        self._running = self._processes.start(*self._command, **self._environment)
        wait_until(self._is_ready, f"it did not get ready: {self._processes.said()[-3000:]}", patience=60)

    def _is_ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self._client.get("/readyz").status_code == 200
        return False

    def _kill_everything(self) -> None:
        assert self._running is not None
        family = family_of(self._running.pid)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._running.wait(30)
        wait_gone(family)

    def _status(self, batch_id: str, **query: int) -> dict[str, Any]:
        answer = self._client.get(f"/api/batches/{batch_id}", params={"limit": 0, **query})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def _wait_for(self, batch_id: str, percent: int) -> None:
        reached = lambda: self._status(batch_id)["percent"] >= percent  # noqa: E731
        wait_until(reached, f"it did not get to {percent} %", patience=PATIENCE_SECONDS)

    def _outcome(self, batch_id: str, killed: list[int]) -> Outcome:
        status, pictures = self._status(batch_id), Counter[int]()
        for offset in range(0, status["jobs"], 200):
            for place in self._status(batch_id, offset=offset, limit=200)["places"]:
                pictures[place["place"]] += len(place["images"])
        rows = self._client.get(f"/api/batches/{batch_id}/table").json()["rows"]
        with zipfile.ZipFile(io.BytesIO(self._client.get(f"/api/batches/{batch_id}/zip").content)) as zipped:
            damaged = sum(hashlib.sha256(zipped.read(row["file"])).hexdigest() != row["sha256"] for row in rows)
        return Outcome(status["jobs"], status["counts"], pictures, damaged, killed)


def _prompts(number: int) -> dict[str, Any]:
    return {"field": "prompt", "values": [f"boat {place}" for place in range(number)]}
