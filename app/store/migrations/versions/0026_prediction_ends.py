"""when predictions ended

Revision ID: 0026
Revises: 0025

`predictions.ended_at`: providers delete the files of a prediction some time after its end.
"""

import sqlalchemy as sa
from alembic import op

revision = '0026'
down_revision = '0025'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('predictions', sa.Column('ended_at', sa.Double(), nullable=True))
