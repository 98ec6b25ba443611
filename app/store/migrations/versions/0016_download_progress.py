"""how far the download of a job's model is

Revision ID: 0016
Revises: 0015

`jobs.downloaded_bytes` and `jobs.total_bytes`, set only while it is under way.
"""

import sqlalchemy as sa
from alembic import op

revision = '0016'
down_revision = '0015'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('jobs', sa.Column('downloaded_bytes', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True))
    op.add_column('jobs', sa.Column('total_bytes', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True))
