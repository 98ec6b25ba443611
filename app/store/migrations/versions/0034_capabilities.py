"""what workers can run, and what jobs need

Revision ID: 0034
Revises: 0033

`jobs.needs`: the class of a job that needs more of its worker than a model, null of any other; with an index by class of
the jobs that wait, so that a worker finds the first job of each class that it can run. `worker_capabilities`: what workers
report that they can run, once for all that report the same; `workers.capabilities` names it.
"""

import sqlalchemy as sa
from alembic import op

revision = '0034'
down_revision = '0033'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('worker_capabilities',
    sa.Column('digest', sa.String(length=64), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.Column('seen_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('digest', name=op.f('pk_worker_capabilities'))
    )
    op.add_column('workers', sa.Column('capabilities', sa.String(length=64), nullable=True))
    op.add_column('jobs', sa.Column('needs', sa.String(length=64), nullable=True))
    pending = sa.text("status = 'PENDING'")
    columns: list[str | sa.TextClause] = ['lane', sa.text('coalesce(needs, model_id)'), sa.text('priority DESC'), 'turn', 'seq']
    op.create_index('ix_jobs_classes', 'jobs', columns, sqlite_where=pending, postgresql_where=pending)
