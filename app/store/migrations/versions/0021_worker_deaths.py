"""how workers died

Revision ID: 0021
Revises: 0020

`worker_deaths`: what the supervisor saw of the end of a worker, whose jobs it freed in the same transaction.
"""

import sqlalchemy as sa
from alembic import op

revision = '0021'
down_revision = '0020'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('worker_deaths',
    sa.Column('worker_id', sa.String(length=64), nullable=False),
    sa.Column('cause', sa.String(length=16), nullable=False),
    sa.Column('status', sa.Integer(), nullable=False),
    sa.Column('died_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('worker_id', name=op.f('pk_worker_deaths'))
    )
