"""traceparent

Revision ID: 0029
Revises: 0028

`traceparent` of jobs and webhook messages: the trace of the request that submitted the job, to be passed on.
"""

import sqlalchemy as sa
from alembic import op

revision = '0029'
down_revision = '0028'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('jobs', sa.Column('traceparent', sa.Text(), nullable=True))
    op.add_column('webhook_deliveries', sa.Column('traceparent', sa.Text(), nullable=True))
