"""memory plans in use, and those under which the kernel killed a worker

Revision ID: 0022
Revises: 0021

`memory_plans`: under which plan each worker process holds a model; with `killed_at` the kernel killed that worker for
lack of memory while it ran the model, and the next one on that device takes a smaller plan.
"""

import sqlalchemy as sa
from alembic import op

revision = '0022'
down_revision = '0021'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('memory_plans',
    sa.Column('worker_id', sa.String(length=64), nullable=False),
    sa.Column('model_id', sa.String(length=100), nullable=False),
    sa.Column('host', sa.String(length=255), nullable=False),
    sa.Column('device_id', sa.String(length=128), nullable=False),
    sa.Column('plan', sa.String(length=200), nullable=False),
    sa.Column('begun_at', sa.Double(), nullable=False),
    sa.Column('killed_at', sa.Double(), nullable=True),
    sa.PrimaryKeyConstraint('worker_id', 'model_id', name=op.f('pk_memory_plans'))
    )
