"""spending

Revision ID: 0027
Revises: 0026

`spending`: the remote generations of each client and day, and their prices.
"""

import sqlalchemy as sa
from alembic import op

revision = '0027'
down_revision = '0026'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('spending',
    sa.Column('day', sa.Integer(), nullable=False),
    sa.Column('client_id', sa.String(length=100), nullable=False),
    sa.Column('predictions', sa.Integer(), nullable=False),
    sa.Column('amount', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('day', 'client_id', name=op.f('pk_spending'))
    )
