"""spending

Revision ID: 0023
Revises: 0022

`spending`: the remote generations of each client and day, and their prices.
"""

import sqlalchemy as sa
from alembic import op

revision = '0023'
down_revision = '0022'
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
