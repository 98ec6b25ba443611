"""how far the download of a model is that was ordered

Revision ID: 0017
Revises: 0016

`downloaded_bytes`, `total_bytes` and `bytes_per_second` of `model_orders`, set only when something is downloaded.
"""

import sqlalchemy as sa
from alembic import op

revision = '0017'
down_revision = '0016'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('model_orders', sa.Column('downloaded_bytes', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True))
    op.add_column('model_orders', sa.Column('total_bytes', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True))
    op.add_column('model_orders', sa.Column('bytes_per_second', sa.Double(), nullable=True))
