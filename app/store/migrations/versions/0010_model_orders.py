"""orders to load and unload models; how fast a running job is

Revision ID: 0010
Revises: 0009

`model_orders`: what workers are told to load or unload between two jobs. `jobs.seconds_per_step`: measured while the
job runs, for whoever watches it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('jobs', sa.Column('seconds_per_step', sa.Double(), nullable=True))
    op.create_table('model_orders',
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('action', sa.String(length=8), nullable=False),
    sa.Column('model_id', sa.String(length=100), nullable=True),
    sa.Column('addressee', sa.String(length=64), nullable=True),
    sa.Column('state', sa.String(length=10), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('expires_at', sa.Double(), nullable=False),
    sa.Column('worker_id', sa.String(length=64), nullable=True),
    sa.Column('taken_at', sa.Double(), nullable=True),
    sa.Column('ended_at', sa.Double(), nullable=True),
    sa.Column('was_resident', sa.Boolean(), nullable=False),
    sa.Column('error_code', sa.String(length=64), nullable=True),
    sa.Column('error_message', sa.Text(), nullable=True),
    sa.CheckConstraint("state IN ('PENDING','TAKEN','DONE','FAILED')", name=op.f('ck_model_orders_state')),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_model_orders')),
    sa.UniqueConstraint('id', name=op.f('uq_model_orders_id')),
    sqlite_autoincrement=True
    )
    op.create_index('ix_model_orders_waiting', 'model_orders', ['seq'], unique=False, sqlite_where=sa.text("state = 'PENDING'"), postgresql_where=sa.text("state = 'PENDING'"))
