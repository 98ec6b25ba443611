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
    and_,
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
    Column("deleted_at", Double),  # since when it lies in the bin
    Column("deletion_id", String(32)),  # of the request that put it there
    UniqueConstraint("job_id", "index"),
)

# The indexes of the gallery are partial, so that a page costs the same however much lies in the bin. Queries must spell
# the condition the same way, or SQLite does not use them.
IN_GALLERY = outputs.c.deleted_at.is_(None)
IN_BIN = outputs.c.deleted_at.is_not(None)
FAVORITE = outputs.c.favorite.is_(True)
_NEWEST = (outputs.c.created_at, outputs.c.id)
for _name, *_columns in (
    ("ix_outputs_newest",),
    ("ix_outputs_model_newest", outputs.c.model_id),
    ("ix_outputs_media_newest", outputs.c.media),
    ("ix_outputs_owner_newest", outputs.c.owner),
    ("ix_outputs_seed_newest", outputs.c.seed),
):
    Index(_name, *_columns, *_NEWEST, sqlite_where=IN_GALLERY, postgresql_where=IN_GALLERY)
_FAVORITES = and_(FAVORITE, IN_GALLERY)
Index("ix_outputs_favorite_newest", *_NEWEST, sqlite_where=_FAVORITES, postgresql_where=_FAVORITES)
_BIN_ORDER = (outputs.c.deleted_at, outputs.c.id)
Index("ix_outputs_bin", *_BIN_ORDER, sqlite_where=IN_BIN, postgresql_where=IN_BIN)
_OF_DELETION = and_(outputs.c.deletion_id.is_not(None), IN_BIN)
Index(
    "ix_outputs_deletion",
    outputs.c.deletion_id,
    *_BIN_ORDER,
    sqlite_where=_OF_DELETION,
    postgresql_where=_OF_DELETION,
)

# `tag` is the label without differences of case and width; `created_at` that of the picture.
output_tags = Table(
    "output_tags",
    metadata,
    Column("output_id", String(32), ForeignKey("outputs.id", ondelete="CASCADE"), primary_key=True),
    Column("tag", String(200), primary_key=True),
    Column("label", String(50), nullable=False),
    Column("created_at", Double, nullable=False),
)
Index("ix_output_tags_newest", output_tags.c.tag, output_tags.c.created_at, output_tags.c.output_id)

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
