"""devices that failed, and attempts that were not the job's fault

Revision ID: 0020
Revises: 0019

`jobs.interruptions`: attempts that a device or the end of the whole service cut short; bounded apart from `max_attempts`.
`device_faults`: devices that failed and have not finished a job since. `workers.device_id` and `device_error`: which
device a worker has, and why it is out of service.
"""

import sqlalchemy as sa
from alembic import op

revision = '0020'
down_revision = '0019'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('jobs', sa.Column('interruptions', sa.Integer(), server_default='0', nullable=False))
    op.add_column('workers', sa.Column('device_id', sa.String(length=128), server_default='', nullable=False))
    op.add_column('workers', sa.Column('device_error', sa.Text(), nullable=True))
    op.create_table('device_faults',
    sa.Column('host', sa.String(length=255), nullable=False),
    sa.Column('device_id', sa.String(length=128), nullable=False),
    sa.Column('job_id', sa.String(length=32), nullable=True),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('failures', sa.Integer(), nullable=False),
    sa.Column('failed_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('host', 'device_id', name=op.f('pk_device_faults'))
    )
