"""Totals, maintenance, secrets, keys and names."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Double, Integer, String, Table, Text

from app.store.db.schema.base import BIG, metadata

# Counts of ended jobs (subject = their status) and outputs (subject = 'outputs'): sums over the shards. Maintained by
# triggers (migration 0003), so that no statement has to; pending and running jobs are counted by their indexes.
tallies = Table(
    "tallies",
    metadata,
    Column("subject", String(16), primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("count", BIG, nullable=False),
    Column("bytes", BIG, nullable=False),
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

# Maintenance tasks that one process at a time runs, and when each is due again.
periodic_tasks = Table(
    "chores",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("due_at", Double, nullable=False),
)

# Registered names of LoRAs.
loras = Table(
    "loras",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("lora_id", String(300), nullable=False),
    Column("created_at", Double, nullable=False),
)

# Generated secrets, such as the webhook signing key.
secrets = Table(
    "secrets",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)

# Wrong tokens by address, sorted into a fixed number of buckets: how many since `began_at`.
login_failures = Table(
    "login_failures",
    metadata,
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("began_at", Double, nullable=False),
    Column("count", Integer, nullable=False),
)

# API keys for AUTH_MODE=keys. The token is not stored; an `id` is never reused, so no key inherits pictures.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
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
