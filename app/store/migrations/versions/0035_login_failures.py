"""wrong tokens, counted by all API processes together

Revision ID: 0035
Revises: 0034

`login_failures`: how many wrong tokens came from an address since a minute began, a row for each of a fixed number of
buckets that addresses are sorted into.
"""

import sqlalchemy as sa
from alembic import op

revision = '0035'
down_revision = '0034'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('login_failures',
    sa.Column('bucket', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('began_at', sa.Double(), nullable=False),
    sa.Column('count', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('bucket', name=op.f('pk_login_failures'))
    )
