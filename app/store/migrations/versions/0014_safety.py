"""what the safety filter found

Revision ID: 0014
Revises: 0013

`jobs.safety_filter_result`: the gravest of a COMPLETED job's pictures, also of those that were held back.
"""

import sqlalchemy as sa
from alembic import op

revision = '0014'
down_revision = '0013'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('jobs', sa.Column('safety_filter_result', sa.String(length=8), nullable=True))
