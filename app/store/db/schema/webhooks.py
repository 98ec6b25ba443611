"""Webhook messages and their receivers."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Double, Index, Integer, String, Table, Text, literal_column

from app.store.db.schema.base import BIG, metadata

# The outbox: messages for `webhook_url`s, written in the transaction that ended the job. `attempt` only grows and
# fences the writes of dispatchers; `due_at` is the next attempt, or the end of the lease of the current one.
# `endpoint` is a digest of the URL without its query.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("seq", BIG, primary_key=True, autoincrement=True),
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
    Column("traceparent", Text),
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
