"""Worker processes, their devices, and requests to them."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    String,
    Table,
    Text,
    literal_column,
)

from app.store.db.schema.base import BIG, metadata

workers = Table(
    "workers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("device", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("job_id", String(32)),
    Column("models", JSON, nullable=False),
    Column("rss_bytes", BIG, nullable=False),
    Column("vram_bytes", BIG, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("heartbeat_at", Double, nullable=False),
    Column("lane", String(8), nullable=False, server_default="local"),
    Column("slots", Integer, nullable=False, server_default="1"),
    Column("running", Integer, nullable=False, server_default="0"),
    Column("device_id", String(128), nullable=False, server_default=""),
    Column("device_error", Text),  # while its device is out of service
    Column("capabilities", String(64)),  # a digest; null of a worker that reports none
)

# What workers can run, as JSON: written when it changes, once for all workers that report the same.
worker_capabilities = Table(
    "worker_capabilities",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("body", Text, nullable=False),
    Column("seen_at", Double, nullable=False),  # when a worker began or ceased to report it
)

# Devices that failed and have not finished a job since; the next worker of such a device tests it first.
device_faults = Table(
    "device_faults",
    metadata,
    Column("host", String(255), primary_key=True),
    Column("device_id", String(128), primary_key=True),
    Column("job_id", String(32)),
    Column("reason", Text, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("failed_at", Double, nullable=False),
)

# How workers died, as their supervisor saw it.
worker_deaths = Table(
    "worker_deaths",
    metadata,
    Column("worker_id", String(64), primary_key=True),
    Column("cause", String(16), nullable=False),
    Column("status", Integer, nullable=False),
    Column("died_at", Double, nullable=False),
)

# Under which memory plan each worker process holds a model. With `killed_at` the kernel killed it for lack of memory.
memory_plans = Table(
    "memory_plans",
    metadata,
    Column("worker_id", String(64), primary_key=True),
    Column("model_id", String(100), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("device_id", String(128), nullable=False),
    Column("plan", String(200), nullable=False),
    Column("begun_at", Double, nullable=False),
    Column("killed_at", Double),
)

# Models that a device cannot run: for a while its workers leave their jobs to others.
device_refusals = Table(
    "device_refusals",
    metadata,
    Column("host", String(255), primary_key=True),
    Column("device_id", String(128), primary_key=True),
    Column("model_id", String(100), primary_key=True),
    Column("refused_at", Double, nullable=False),
)

# Requests to workers to load or unload models between two jobs. Old ones are deleted with the next.
load_requests = Table(
    "model_orders",
    metadata,
    Column("seq", BIG, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("action", String(8), nullable=False),
    Column("model_id", String(100)),
    Column("addressee", String(64)),
    Column("state", String(10), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("worker_id", String(64)),
    Column("taken_at", Double),
    Column("ended_at", Double),
    Column("was_resident", Boolean, nullable=False),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("downloaded_bytes", BIG),
    Column("total_bytes", BIG),
    Column("bytes_per_second", Double),
    Column("lora", Text),  # to load into the model, or to unload from it; null: the model itself
    CheckConstraint("state IN ('PENDING','TAKEN','DONE','FAILED')", name="state"),
    sqlite_autoincrement=True,
)
REQUESTED = load_requests.c.state == literal_column("'PENDING'")
Index("ix_model_orders_waiting", load_requests.c.seq, sqlite_where=REQUESTED, postgresql_where=REQUESTED)
