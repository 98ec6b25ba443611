"""The stores on one database, with shortcuts for the tests."""

from __future__ import annotations

import itertools
from typing import Any

from sqlalchemy import Row, func, select, update

from app.core.batches.axes import Axis
from app.core.batches.batch import NewBatch, NewJob
from app.core.job import Claim, Job
from app.core.output import Output
from app.core.request import GenerationRequest
from app.core.spending import Charge
from app.services.job_body import webhook_message
from app.store.db.database import Database, now
from app.store.db.schema import jobs, outputs
from app.store.media.lineage import LineageStore
from app.store.media.outputs import OutputStore
from app.store.ops.memory_plans import MemoryPlanStore
from app.store.queue.batch_changes import BatchChangeStore, Submitter
from app.store.queue.batch_progress import BatchProgressStore
from app.store.queue.batches import BatchStore
from app.store.queue.claims import ClaimStore
from app.store.queue.deaths import DeathStore
from app.store.queue.device_refusals import DeviceRefusalStore
from app.store.queue.durations import DurationStore
from app.store.queue.idempotency import IdempotencyKey
from app.store.queue.jobs import JobStore
from app.store.queue.load_requests import LoadRequestStore
from app.store.queue.rows import InputStore
from app.store.queue.workers import WorkerStore

LEASE, TIMEOUT = 30.0, 600.0
_numbers = itertools.count(1)


def a_request(model_id: str = "demo", **values: Any) -> GenerationRequest:
    defaults = {"prompt": "a red boat", "num_inference_steps": 16, "seed": 7, "width": 64, "height": 64}
    return GenerationRequest(model_id=model_id, **(defaults | values))


def an_output(job_id: str, index: int = 0, **values: Any) -> Output:
    number = next(_numbers)
    defaults: dict[str, Any] = {
        "id": f"{number:032x}",
        "media": "image",
        "model_id": "demo",
        "path": f"2026/01/02/{number:032x}.png",
        "thumbnail_path": f"2026/01/02/{number:032x}.thumbnail.webp",
        "mime_type": "image/png",
        "width": 64,
        "height": 64,
        "bytes": 1000,
        "sha256": "0" * 64,
        "seed": 7 + index,
        "manifest": {"prompt": "a red boat"},
    }
    return Output(job_id=job_id, index=index, **(defaults | values))


class Store:
    def __init__(
        self, database: Database, *, lease: float = LEASE, timeout: float = TIMEOUT, load: float = 0.0
    ) -> None:
        self.database = database
        self.jobs = JobStore(database, render_webhook=webhook_message)
        limits = {"lease_seconds": lease, "timeout_seconds": timeout, "load_seconds": load}
        self.claims = ClaimStore(database, render_webhook=webhook_message, **limits)
        self.deaths = DeathStore(database, render_webhook=webhook_message)
        self.batches = BatchStore(database)
        self.batch_changes = BatchChangeStore(database)
        self.batch_progress = BatchProgressStore(database)
        self.inputs = InputStore(database)
        self.outputs = OutputStore(database)
        self.lineage = LineageStore(database)
        self.workers = WorkerStore(database, lease_seconds=lease)
        self.speeds = DurationStore(database)
        self.load_requests = LoadRequestStore(database)
        self.memory_plans = MemoryPlanStore(database)
        self.refusals = DeviceRefusalStore(database, lease_seconds=lease)

    def submit(self, model_id: str = "demo", *, client: str = "alice", priority: int = 0, **values: Any) -> Job:
        return self.jobs.enqueue(a_request(model_id, **values), client_id=client, priority=priority)[0]

    def submit_with_key(self, key: str, body: str = "a" * 64, client: str = "alice") -> tuple[Job, bool]:
        return self.jobs.enqueue(a_request(), client_id=client, idempotency=IdempotencyKey(key, body))

    def submit_batch(
        self, *models: str, client: str = "alice", key: str | None = None, charge: Charge | None = None, **values: Any
    ) -> str:
        """A batch with a job of each of `models`, in this order."""
        new = [NewJob(place, a_request(model), charge=charge) for place, model in enumerate(models)]
        batch = NewBatch([Axis("model_id", list(models))], {"prompt": "a cat"}, **values)
        idempotency = None if key is None else IdempotencyKey(key, "b" * 64)
        return self.batch_changes.enqueue(batch, new, Submitter(client, 3, idempotency))[0]

    def claim(self, worker: str = "w1", *loaded: str) -> Claim:
        claim = self.claims.claim(worker, loaded)
        assert claim is not None, "nothing to claim"
        return claim

    def complete(self, claim: Claim, *published: Output, **timings: float) -> None:
        made = published or (an_output(claim.job_id, model_id=claim.request.model_id),)
        self.claims.complete(claim, made, timings=timings)

    # --- behind the store's back

    def now(self) -> float:
        with self.database.read() as connection:
            return float(connection.scalar(select(now())))

    def row(self, job_id: str) -> Row[Any]:
        with self.database.read() as connection:
            return connection.execute(select(jobs).where(jobs.c.id == job_id)).one()

    def edit(self, job_id: str, **values: Any) -> None:
        with self.database.write() as connection:
            assert connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values)).rowcount == 1

    def expire(self, claim: Claim) -> None:
        """Let the lease of a claim expire."""
        self.edit(claim.job_id, lease_expires_at=self.now() - 1)

    def lose(self, claim: Claim) -> None:
        """Let the lease expire and return the job to the queue."""
        self.expire(claim)
        assert [row.id for row in self.claims.expire_leases()] == [claim.job_id]
        if self.row(claim.job_id).status == "PENDING":
            self.edit(claim.job_id, available_at=None)

    def output_count(self) -> int:
        with self.database.read() as connection:
            return connection.scalar(select(func.count()).select_from(outputs)) or 0
