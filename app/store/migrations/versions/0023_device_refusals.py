"""models that a device refused

Revision ID: 0023
Revises: 0022

`device_refusals`: models that a device cannot run, for lack of memory or of a GPU; for a while its workers leave their
jobs to others.
"""

import sqlalchemy as sa
from alembic import op

revision = '0023'
down_revision = '0022'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('device_refusals',
    sa.Column('host', sa.String(length=255), nullable=False),
    sa.Column('device_id', sa.String(length=128), nullable=False),
    sa.Column('model_id', sa.String(length=100), nullable=False),
    sa.Column('refused_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('host', 'device_id', 'model_id', name=op.f('pk_device_refusals'))
    )
