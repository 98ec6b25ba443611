"""Predictions at providers, and what clients spend on them."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    literal_column,
)

from app.store.db.schema.base import metadata

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
