"""Batches, and how many of their jobs are in each status."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Double, Index, Integer, String, Table, Text

from app.store.db.schema.base import BIG, metadata

batches = Table(
    "batches",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(100), nullable=False),
    Column("name", String(200)),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("paused_at", Double),
    Column("stopped", String(16)),  # why the rest was cancelled
    Column("priority", Integer, nullable=False),
    Column("jobs", Integer, nullable=False),  # how many were accepted
    Column("axes", JSON, nullable=False),
    Column("request", JSON, nullable=False),
    Column("warnings", JSON, nullable=False),
    Column("webhook_url", Text),
    Column("max_seconds", Double),
    Column("max_spend", Double),
    Column("spent", Double, nullable=False),
    Column("request_id", String(64)),
    Column("percent_told", Integer, nullable=False),  # by the last event
    Column("ended_told", Integer, nullable=False),
    Column("progressed_at", Double, nullable=False),
)
Index("ix_batches_owner", batches.c.owner, batches.c.id)
NOT_ENDED = batches.c.ended_at.is_(None)
Index("ix_batches_open", batches.c.id, sqlite_where=NOT_ENDED, postgresql_where=NOT_ENDED)

# Maintained by triggers (migration 0033): the sums over the shards are exact, and a batch's status reads no job.
batch_tallies = Table(
    "batch_tallies",
    metadata,
    Column("batch_id", String(32), primary_key=True),
    Column("status", String(10), primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("count", BIG, nullable=False),
)
