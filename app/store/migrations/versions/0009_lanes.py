"""lanes

Revision ID: 0009
Revises: 0008

`jobs.lane`: jobs of remote providers wait in a line of their own, so that none ever waits for a GPU, or the reverse.
The indexes of the line begin with it. `workers.lane`, `slots`, `running`: which line a worker serves, how many at once.
"""

import sqlalchemy as sa
from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None

WAITING = sa.text("status = 'PENDING'")


def upgrade() -> None:
    op.add_column('jobs', sa.Column('lane', sa.String(length=8), server_default='local', nullable=False))
    op.drop_index('ix_jobs_line', 'jobs')
    op.drop_index('ix_jobs_model_line', 'jobs')
    op.drop_index('ix_jobs_client_line', 'jobs')
    op.create_index('ix_jobs_line', 'jobs', ['lane', sa.literal_column('priority DESC'), 'turn', 'seq'], unique=False, sqlite_where=WAITING, postgresql_where=WAITING)
    op.create_index('ix_jobs_model_line', 'jobs', ['model_id', 'lane', sa.literal_column('priority DESC'), 'turn', 'seq'], unique=False, sqlite_where=WAITING, postgresql_where=WAITING)
    op.create_index('ix_jobs_client_line', 'jobs', ['client_id', 'lane', sa.literal_column('priority DESC'), 'turn', 'seq'], unique=False, sqlite_where=WAITING, postgresql_where=WAITING)
    op.add_column('workers', sa.Column('lane', sa.String(length=8), server_default='local', nullable=False))
    op.add_column('workers', sa.Column('slots', sa.Integer(), server_default='1', nullable=False))
    op.add_column('workers', sa.Column('running', sa.Integer(), server_default='0', nullable=False))
