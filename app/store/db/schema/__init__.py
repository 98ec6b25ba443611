"""The tables, a file for each subject. Times are seconds since the epoch, UTC, by the database's clock (see
`app.store.db.database`)."""

from __future__ import annotations

from app.store.db.schema.base import metadata
from app.store.db.schema.batches import NOT_ENDED, batch_tallies, batches
from app.store.db.schema.jobs import (
    ENDED,
    OF_BATCH,
    PENDING,
    PROCESSING,
    QUEUE_ORDER,
    UNSUCCESSFUL,
    idempotency_keys,
    inputs,
    job_class,
    jobs,
    previews,
    speeds,
)
from app.store.db.schema.media import (
    FAVORITE,
    IN_BIN,
    IN_GALLERY,
    NO_SEED,
    output_sources,
    output_tags,
    outputs,
    removals,
)
from app.store.db.schema.ops import api_keys, counters, login_failures, loras, periodic_tasks, secrets, tallies
from app.store.db.schema.remote import OPEN, predictions, spending
from app.store.db.schema.webhooks import UNDELIVERED, webhook_deliveries, webhook_pauses
from app.store.db.schema.workers import (
    REQUESTED,
    device_faults,
    device_refusals,
    load_requests,
    memory_plans,
    worker_capabilities,
    worker_deaths,
    workers,
)

__all__ = [
    "ENDED",
    "FAVORITE",
    "IN_BIN",
    "IN_GALLERY",
    "NOT_ENDED",
    "NO_SEED",
    "OF_BATCH",
    "OPEN",
    "PENDING",
    "PROCESSING",
    "QUEUE_ORDER",
    "REQUESTED",
    "UNDELIVERED",
    "UNSUCCESSFUL",
    "api_keys",
    "batch_tallies",
    "batches",
    "counters",
    "device_faults",
    "device_refusals",
    "idempotency_keys",
    "inputs",
    "job_class",
    "jobs",
    "load_requests",
    "login_failures",
    "loras",
    "memory_plans",
    "metadata",
    "output_sources",
    "output_tags",
    "outputs",
    "periodic_tasks",
    "predictions",
    "previews",
    "removals",
    "secrets",
    "speeds",
    "spending",
    "tallies",
    "webhook_deliveries",
    "webhook_pauses",
    "worker_capabilities",
    "worker_deaths",
    "workers",
]
