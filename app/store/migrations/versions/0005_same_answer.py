"""the same answer to a repeated request

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('idempotency_keys', sa.Column('position', sa.Integer(), nullable=True))
    op.add_column('idempotency_keys', sa.Column('warnings', sa.JSON(), nullable=True))
