"""The tables. Times are seconds since the epoch, UTC, by the database's clock (see `app.store.db.database`).

Every index on pending or running jobs is *partial with the status as a literal*, so that it holds only those rows: a
claim costs the same with a million finished jobs. Queries must spell the status the same way (`PENDING` and
`PROCESSING` below), or SQLite does not use the index; tests/store/queue/test_plans.py checks this.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    false,
    literal_column,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Big = BigInteger().with_variant(Integer, "sqlite")  # SQLite supports AUTOINCREMENT for INTEGER keys only

jobs = Table(
    "jobs",
    metadata,
    Column("seq", _Big, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("client_id", String(100), nullable=False),
    Column("status", String(10), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("turn", _Big, nullable=False),
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
    Column("revision", _Big, nullable=False),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("timings", JSON, nullable=False),
    Column("webhook_url", Text),
    Column("overtaken_at", Double),  # since when, as the first job, it has been overtaken by jobs of loaded models
    Column("request_id", String(64)),  # of the request that submitted it, for the log
    Column("vram_peak_bytes", _Big),
    Column("lane", String(8), nullable=False, server_default="local"),
    Column("safety_filter_result", String(8)),  # when COMPLETED
    Column("seconds_per_step", Double),  # of the current attempt, measured
    Column("downloaded_bytes", _Big),  # both only while its model is being downloaded
    Column("total_bytes", _Big),
    Column("interruptions", Integer, nullable=False, server_default="0"),  # attempts that were not its fault
    CheckConstraint("status IN ('PENDING','PROCESSING','COMPLETED','FAILED','CANCELLED')", name="status"),
    CheckConstraint("status <> 'PROCESSING' OR worker_id IS NOT NULL", name="owner"),
    sqlite_autoincrement=True,
)

# Typed literals: they render as SQL text, never as a bound parameter, so that partial indexes apply.
PENDING = jobs.c.status == literal_column("'PENDING'")
PROCESSING = jobs.c.status == literal_column("'PROCESSING'")
ENDED = jobs.c.status.in_([literal_column(f"'{status}'") for status in ("COMPLETED", "FAILED", "CANCELLED")])

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

NO_SEED = -1  # of an output whose model was sent none

outputs = Table(
    "outputs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("job_id", String(32), ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("index", Integer, nullable=False),
    Column("media", String(8), nullable=False),
    Column("model_id", String(100), nullable=False),
    Column("path", Text, nullable=False),
    Column("thumbnail_path", Text, nullable=False),
    Column("mime_type", String(64), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("bytes", _Big, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("seed", _Big, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("manifest", JSON, nullable=False),
    Column("favorite", Boolean, nullable=False, server_default=false()),  # kept by retention
    Column("owner", String(100), nullable=False, server_default=""),  # the job's client_id
    Column("search_text", Text, nullable=False, server_default=""),  # the prompt, case-folded (app.core.prompts)
    UniqueConstraint("job_id", "index"),
)
Index("ix_outputs_newest", outputs.c.created_at, outputs.c.id)
Index("ix_outputs_model_newest", outputs.c.model_id, outputs.c.created_at, outputs.c.id)
Index("ix_outputs_media_newest", outputs.c.media, outputs.c.created_at, outputs.c.id)
Index("ix_outputs_owner_newest", outputs.c.owner, outputs.c.created_at, outputs.c.id)

# Counts of ended jobs (subject = their status) and outputs (subject = 'outputs'): sums over the shards. Maintained by
# triggers (migration 0003), so that no statement has to; pending and running jobs are counted by their indexes.
tallies = Table(
    "tallies",
    metadata,
    Column("subject", String(16), primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("count", _Big, nullable=False),
    Column("bytes", _Big, nullable=False),
)

# Totals for monitoring, which only grow: sums over the shards. Triggers count jobs (migration 0006), workers the rest.
counters = Table(
    "counters",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("model_id", String(100), primary_key=True),
    Column("detail", String(64), primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("value", Double, nullable=False),
)

# Removed jobs and outputs: requests for them answer 410, not 404, to clients that may know of them.
removals = Table(
    "removals",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("removed_at", Double, nullable=False),
    Column("owner", String(100)),
)
Index("ix_removals_removed_at", removals.c.removed_at)

# Maintenance tasks that one process at a time runs, and when each is due again.
periodic_tasks = Table(
    "chores",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("due_at", Double, nullable=False),
)

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
    Column("rss_bytes", _Big, nullable=False),
    Column("vram_bytes", _Big, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("heartbeat_at", Double, nullable=False),
    Column("lane", String(8), nullable=False, server_default="local"),
    Column("slots", Integer, nullable=False, server_default="1"),
    Column("running", Integer, nullable=False, server_default="0"),
    Column("device_id", String(128), nullable=False, server_default=""),
    Column("device_error", Text),  # while its device is out of service
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

# Measured seconds per model: bucket "load", or "<width>x<height>x<steps>" for one picture. Exponential averages.
speeds = Table(
    "speeds",
    metadata,
    Column("model_id", String(100), primary_key=True),
    Column("bucket", String(64), primary_key=True),
    Column("seconds", Double, nullable=False),
    Column("samples", Integer, nullable=False),
)

# Registered names of LoRAs.
loras = Table(
    "loras",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("lora_id", String(300), nullable=False),
    Column("created_at", Double, nullable=False),
)

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

# Predictions at providers of remote models. A row is written before the request is sent ('intended'), so that after a
# crash the prediction is looked up instead of paid for twice. `superseded`: a retry creates a new one.
predictions = Table(
    "predictions",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("job_id", String(32), ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("source", String(16), nullable=False),
    Column("model", String(200), nullable=False),
    Column("provider_id", String(128)),
    Column("status", String(16), nullable=False),
    Column("input", JSON, nullable=False),
    Column("outputs", JSON, nullable=False),
    Column("error", Text),
    Column("predict_seconds", Double),
    Column("download_attempted", Boolean, nullable=False, server_default=false()),
    Column("download_retries", Integer, nullable=False, server_default="0"),
    Column("download_error", Text),
    Column("superseded", Boolean, nullable=False, server_default=false()),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),  # when its end was first reported; null before, and in rows of earlier versions
    UniqueConstraint("source", "provider_id"),
)
OPEN = predictions.c.status.in_([literal_column(f"'{status}'") for status in ("intended", "starting", "processing")])
Index("ix_predictions_job", predictions.c.job_id, predictions.c.id)
Index("ix_predictions_open", predictions.c.source, predictions.c.id, sqlite_where=OPEN, postgresql_where=OPEN)

# Remote generations of each client by day (days since the epoch, UTC), and the sum of their prices.
spending = Table(
    "spending",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("client_id", String(100), primary_key=True),
    Column("predictions", Integer, nullable=False),
    Column("amount", Double, nullable=False),
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

# The outbox: messages for `webhook_url`s, written in the transaction that ended the job. `attempt` only grows and
# fences the writes of dispatchers; `due_at` is the next attempt, or the end of the lease of the current one.
# `endpoint` is a digest of the URL without its query.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("seq", _Big, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("job_id", String(32), nullable=False),  # no foreign key: retention must not delete undelivered messages
    Column("event", String(32), nullable=False),
    Column("url", Text, nullable=False),
    Column("receiver", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("tries_left", Integer, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("attempted_at", Double),
    Column("delivered_at", Double),
    Column("response_status", Integer),
    Column("error", Text),
    Column("owner", String(100), nullable=False, server_default=""),  # the job's client_id
    Column("endpoint", String(32), nullable=False, server_default=""),
    CheckConstraint("state IN ('PENDING','DELIVERED','DEAD')", name="state"),
    sqlite_autoincrement=True,
)
UNDELIVERED = webhook_deliveries.c.state == literal_column("'PENDING'")
Index("ix_webhook_deliveries_due", webhook_deliveries.c.due_at, sqlite_where=UNDELIVERED, postgresql_where=UNDELIVERED)
Index(
    "ix_webhook_deliveries_first",
    webhook_deliveries.c.tries_left,
    webhook_deliveries.c.due_at,
    sqlite_where=UNDELIVERED,
    postgresql_where=UNDELIVERED,
)
Index(
    "ix_webhook_deliveries_endpoint",
    webhook_deliveries.c.endpoint,
    webhook_deliveries.c.due_at,
    sqlite_where=UNDELIVERED,
    postgresql_where=UNDELIVERED,
)
Index("ix_webhook_deliveries_job", webhook_deliveries.c.job_id, webhook_deliveries.c.seq)
Index("ix_webhook_deliveries_owner", webhook_deliveries.c.owner, webhook_deliveries.c.seq)

# Endpoints that time out: consecutive timeouts, and until when they are paused.
webhook_pauses = Table(
    "webhook_pauses",
    metadata,
    Column("endpoint", String(32), primary_key=True),
    Column("timeouts", Integer, nullable=False),
    Column("until", Double, nullable=False),
)

# Requests to workers to load or unload models between two jobs. Old ones are deleted with the next.
load_requests = Table(
    "model_orders",
    metadata,
    Column("seq", _Big, primary_key=True, autoincrement=True),
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
    Column("downloaded_bytes", _Big),
    Column("total_bytes", _Big),
    Column("bytes_per_second", Double),
    Column("lora", Text),  # to load into the model, or to unload from it; null: the model itself
    CheckConstraint("state IN ('PENDING','TAKEN','DONE','FAILED')", name="state"),
    sqlite_autoincrement=True,
)
REQUESTED = load_requests.c.state == literal_column("'PENDING'")
Index("ix_model_orders_waiting", load_requests.c.seq, sqlite_where=REQUESTED, postgresql_where=REQUESTED)

# Generated secrets, such as the webhook signing key.
secrets = Table(
    "secrets",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)

# API keys for AUTH_MODE=keys. The token is not stored; an `id` is never reused, so no key inherits pictures.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", _Big, primary_key=True, autoincrement=True),
    Column("name", String(100), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("role", String(8), nullable=False),
    Column("rate_limit_generate", String(200)),  # NULL = the general limit
    Column("rate_limit_read", String(200)),
    Column("created_at", Double, nullable=False),
    Column("last_used_at", Double),
    Column("revoked_at", Double),
    CheckConstraint("role IN ('user','admin')", name="role"),
    sqlite_autoincrement=True,
)
