"""Jobs and what belongs to one.

Every index on pending or running jobs is *partial with the status as a literal*, so that it holds only those rows: a
claim costs the same with a million finished jobs. Queries must spell the status the same way (`PENDING` and
`PROCESSING` below), or SQLite does not use the index; tests/store/queue/test_plans.py checks this.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    and_,
    func,
    literal_column,
)

from app.store.db.schema.base import BIG, metadata

jobs = Table(
    "jobs",
    metadata,
    Column("seq", BIG, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("client_id", String(100), nullable=False),
    Column("status", String(10), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("turn", BIG, nullable=False),
    Column("model_id", String(100), nullable=False),
    Column("prompt", Text, nullable=False),
    Column("negative_prompt", Text),
    Column("settings", JSON, nullable=False),
    Column("warnings", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("available_at", Double),  # set only after a failure: a clock set back must not delay other jobs
    Column("started_at", Double),
    Column("heartbeat_at", Double),
    Column("lease_expires_at", Double),
    Column("deadline_at", Double),
    Column("completed_at", Double),
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("worker_id", String(64)),
    Column("cancel_requested", Boolean, nullable=False),
    Column("phase", String(32), nullable=False),
    Column("step", Integer, nullable=False),
    Column("total_steps", Integer, nullable=False),
    Column("revision", BIG, nullable=False),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("timings", JSON, nullable=False),
    Column("webhook_url", Text),
    Column("overtaken_at", Double),  # since when, as the first job, it has been overtaken by jobs of loaded models
    Column("request_id", String(64)),  # of the request that submitted it, for the log
    Column("traceparent", Text),  # of that request, to be passed on
    Column("vram_peak_bytes", BIG),
    Column("lane", String(8), nullable=False, server_default="local"),  # or that of paused jobs: store.queue.rows
    Column("safety_filter_result", String(8)),  # when COMPLETED
    Column("seconds_per_step", Double),  # of the current attempt, measured
    Column("downloaded_bytes", BIG),  # both only while its model is being downloaded
    Column("total_bytes", BIG),
    Column("interruptions", Integer, nullable=False, server_default="0"),  # attempts that were not its fault
    Column("batch_id", String(32)),
    Column("batch_place", Integer),
    Column("needs", String(64)),  # its class, if it needs more of its worker than a model: core.needs
    CheckConstraint("status IN ('PENDING','PROCESSING','COMPLETED','FAILED','CANCELLED')", name="status"),
    CheckConstraint("status <> 'PROCESSING' OR worker_id IS NOT NULL", name="owner"),
    sqlite_autoincrement=True,
)

# Typed literals: they render as SQL text, never as a bound parameter, so that partial indexes apply.
PENDING = jobs.c.status == literal_column("'PENDING'")
PROCESSING = jobs.c.status == literal_column("'PROCESSING'")
ENDED = jobs.c.status.in_([literal_column(f"'{status}'") for status in ("COMPLETED", "FAILED", "CANCELLED")])

# The class of a job. Of an earlier version's jobs the model alone is known.
job_class = func.coalesce(jobs.c.needs, jobs.c.model_id)

QUEUE_ORDER = (jobs.c.priority.desc(), jobs.c.turn, jobs.c.seq)  # in each lane

Index("ix_jobs_line", jobs.c.lane, *QUEUE_ORDER, sqlite_where=PENDING, postgresql_where=PENDING)
Index(
    "ix_jobs_model_line",
    jobs.c.model_id,
    jobs.c.lane,  # or the index of the whole lane would look as good, and a claim would scan it for the model
    *QUEUE_ORDER,
    sqlite_where=PENDING,
    postgresql_where=PENDING,
)
Index("ix_jobs_classes", jobs.c.lane, job_class, *QUEUE_ORDER, sqlite_where=PENDING, postgresql_where=PENDING)
Index(
    "ix_jobs_client_line",
    jobs.c.client_id,
    jobs.c.lane,
    *QUEUE_ORDER,
    sqlite_where=PENDING,
    postgresql_where=PENDING,
)
Index("ix_jobs_leases", jobs.c.lease_expires_at, sqlite_where=PROCESSING, postgresql_where=PROCESSING)
_DELAYED = and_(PENDING, jobs.c.available_at.is_not(None))
Index("ix_jobs_held_back", jobs.c.available_at, sqlite_where=_DELAYED, postgresql_where=_DELAYED)
# Partial too, although it holds most rows: SQLite would prefer a plain index to that of the queue whenever a query says
# `status = 'PENDING'`, and a claim would sort all waiting jobs.
Index("ix_jobs_ended", jobs.c.status, jobs.c.seq, sqlite_where=ENDED, postgresql_where=ENDED)
# For lists of one client. Without COMPLETED, so that successful jobs cost nothing here: those are listed as outputs.
UNSUCCESSFUL = jobs.c.status.in_([literal_column("'FAILED'"), literal_column("'CANCELLED'")])
Index(
    "ix_jobs_client_unsuccessful",
    jobs.c.client_id,
    jobs.c.status,
    jobs.c.seq,
    sqlite_where=UNSUCCESSFUL,
    postgresql_where=UNSUCCESSFUL,
)
# Of the jobs of batches alone, so that others cost nothing here.
OF_BATCH = jobs.c.batch_id.is_not(None)
Index("ix_jobs_batch", jobs.c.batch_id, jobs.c.batch_place, sqlite_where=OF_BATCH, postgresql_where=OF_BATCH)

# Idempotency-Keys with the first answer; written in the same transaction as the job.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("client_id", String(100), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("body_sha256", String(64), nullable=False),
    Column("job_id", String(32), nullable=False),
    Column("position", Integer),
    Column("warnings", JSON),
    Column("created_at", Double, nullable=False),
)
Index("ix_idempotency_keys_created_at", idempotency_keys.c.created_at)

# Input pictures of jobs. Kept as long as the job, so that it can be retried; never part of a listing.
inputs = Table(
    "inputs",
    metadata,
    Column("job_id", String(32), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("role", String(8), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("png", LargeBinary, nullable=False),
)

# The latest preview of each running job; written and removed by its worker's heartbeat.
previews = Table(
    "previews",
    metadata,
    Column("job_id", String(32), primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("webp", LargeBinary, nullable=False),
)

# Measured seconds per model: bucket "load", or "<width>x<height>x<steps>" for one picture. Exponential averages.
speeds = Table(
    "speeds",
    metadata,
    Column("model_id", String(100), primary_key=True),
    Column("bucket", String(64), primary_key=True),
    Column("seconds", Double, nullable=False),
    Column("samples", Integer, nullable=False),
)
