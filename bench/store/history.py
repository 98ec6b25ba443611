"""Databases with a history: any number of ended jobs with their images, and a queue of waiting ones."""

from __future__ import annotations

import json
from pathlib import Path

from app.core.request import GenerationRequest
from app.services.job_body import webhook_message
from app.store.db.database import Database
from app.store.db.migrate import migrate
from app.store.media.outputs import OutputStore
from app.store.queue.claims import ClaimStore
from app.store.queue.durations import DurationStore
from app.store.queue.jobs import JobStore
from app.store.queue.workers import WorkerStore

REQUEST = GenerationRequest(
    model_id="demo", prompt="a sunset over mountains", num_inference_steps=16, seed=7, width=512, height=512
)

_COLUMNS = (
    "id, client_id, status, priority, turn, model_id, prompt, settings, warnings, created_at, started_at, completed_at,"
    " attempt, max_attempts, worker_id, cancel_requested, phase, step, total_steps, revision, timings"
)
_JOBS = (
    f"INSERT INTO jobs ({_COLUMNS})"
    " WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)"
    " SELECT printf('%s%031x', :prefix, n), 'client-' || (n % 20), STATUS, 0, n, 'model-' || (n % 5),"
    " 'a sunset over mountains, number ' || n, :settings, '[]', 1.7e9 + n, 1.7e9 + n, ENDED_AT,"
    " :attempt, 3, NULL, 0, 'starting', 0, 16, 3, '{}' FROM numbers"
)
_ENDED = "CASE n % 50 WHEN 0 THEN 'FAILED' WHEN 1 THEN 'CANCELLED' ELSE 'COMPLETED' END"
_OUTPUTS = (
    'INSERT INTO outputs (id, job_id, "index", media, model_id, path, thumbnail_path, mime_type, width, height, bytes,'
    " sha256, seed, created_at, manifest) SELECT id, id, 0, 'image', model_id, '2026/01/02/' || id || '.png',"
    " '2026/01/02/' || id || '.thumbnail.webp', 'image/png', 512, 512, 400000, hex(zeroblob(32)), 7, completed_at,"
    " json_object('prompt', prompt, 'model_id', model_id, 'settings', json(settings)) FROM jobs"
    " WHERE status = 'COMPLETED'"
)


class Stores:
    """The parts of an installation that the benchmarks use."""

    def __init__(self, path: Path) -> None:
        self.database = Database(f"sqlite:///{path}")
        migrate(self.database)
        self.jobs = JobStore(self.database, render_webhook=webhook_message)
        self.claims = ClaimStore(self.database, render_webhook=webhook_message, lease_seconds=30, timeout_seconds=1800)
        self.outputs = OutputStore(self.database)
        self.workers = WorkerStore(self.database, lease_seconds=30)
        self.speeds = DurationStore(self.database)

    def write_past(self, ended: int) -> None:
        """`ended` jobs, nearly all of them completed with one picture each."""
        if ended:
            self._jobs("0", ended, status=_ENDED, ended_at="1.7e9 + n + 5", attempt=1)
            with self.database.write() as connection:
                connection.exec_driver_sql(_OUTPUTS)
            self.database.checkpoint()

    def write_line(self, waiting: int) -> None:
        if waiting:
            self._jobs("f", waiting, status="'PENDING'", ended_at="NULL", attempt=0)
            self.database.checkpoint()

    def _jobs(self, prefix: str, count: int, *, status: str, ended_at: str, attempt: int) -> None:
        statement = _JOBS.replace("STATUS", status).replace("ENDED_AT", ended_at)
        settings = json.dumps(REQUEST.settings())
        with self.database.write() as connection:
            connection.exec_driver_sql(
                statement, {"prefix": prefix, "count": count, "settings": settings, "attempt": attempt}
            )
