"""open predictions, by provider

Revision ID: 0015
Revises: 0014

Without the provider in front, SQLite looks through all that were ever asked of it.
"""

import sqlalchemy as sa
from alembic import op

revision = '0015'
down_revision = '0014'
branch_labels = None
depends_on = None

OPEN = sa.text("status IN ('intended', 'starting', 'processing')")


def upgrade() -> None:
    op.drop_index('ix_predictions_open', 'predictions')
    op.create_index('ix_predictions_open', 'predictions', ['source', 'id'], unique=False, sqlite_where=OPEN, postgresql_where=OPEN)
