"""Outputs, and what was removed."""

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
)

from app.store.db.schema.base import BIG, metadata

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
    Column("bytes", BIG, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("seed", BIG, nullable=False),
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

# The gallery pictures that an output was made from (app.core.lineage). `source_id` may be removed by now.
output_sources = Table(
    "output_sources",
    metadata,
    Column("output_id", String(32), ForeignKey("outputs.id", ondelete="CASCADE"), primary_key=True),
    Column("source_id", String(32), primary_key=True),
    Column("how", String(16), nullable=False),
)
Index("ix_output_sources_source_id", output_sources.c.source_id)

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
