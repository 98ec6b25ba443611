"""lineage

Revision ID: 0028
Revises: 0027

`output_sources`: which gallery pictures an output was made from, and how. Filled from the manifests of outputs that
exist.
"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = '0028'
down_revision = '0027'
branch_labels = None
depends_on = None

ROWS_AT_ONCE = 1000


def upgrade() -> None:
    table = op.create_table('output_sources',
    sa.Column('output_id', sa.String(length=32), nullable=False),
    sa.Column('source_id', sa.String(length=32), nullable=False),
    sa.Column('how', sa.String(length=16), nullable=False),
    sa.ForeignKeyConstraint(['output_id'], ['outputs.id'], name=op.f('fk_output_sources_output_id_outputs'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('output_id', 'source_id', name=op.f('pk_output_sources'))
    )
    op.create_index('ix_output_sources_source_id', 'output_sources', ['source_id'])
    connection, after = op.get_bind(), ''
    page = sa.text(
        f"SELECT id, manifest FROM outputs WHERE id > :after ORDER BY id LIMIT {ROWS_AT_ONCE}"
    )
    while rows := connection.execute(page, {"after": after}).all():
        if found := [source for row in rows for source in _sources(row.id, row.manifest)]:
            connection.execute(sa.insert(table), found)
        after = rows[-1].id


def _sources(output_id: str, written: Any) -> list[dict[str, str]]:
    manifest = json.loads(written) if isinstance(written, str) else written
    found: dict[str, str] = {}
    if isinstance(manifest.get("rerun_of"), str):
        found[manifest["rerun_of"]] = "rerun"
    inputs = manifest.get("inputs")
    for slot, picture in (inputs.items() if isinstance(inputs, dict) else ()):
        if slot.startswith("mask") or not isinstance(picture, dict) or not picture.get("image_id"):
            continue
        how = "extend" if picture.get("extend") else str(manifest.get("task") or "img2img")
        found.setdefault(picture["image_id"], "reference" if slot.startswith("ref") else how)
    return [{"output_id": output_id, "source_id": source[:32], "how": how[:16]} for source, how in found.items()]
