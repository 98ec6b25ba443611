"""predictions

Revision ID: 0012
Revises: 0011

What was asked of providers of remote models, written down before they are asked.
"""

import sqlalchemy as sa
from alembic import op

revision = '0012'
down_revision = '0011'
branch_labels = None
depends_on = None

OPEN = sa.text("status IN ('intended', 'starting', 'processing')")


def upgrade() -> None:
    op.create_table('predictions',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('job_id', sa.String(length=32), nullable=False),
    sa.Column('source', sa.String(length=16), nullable=False),
    sa.Column('model', sa.String(length=200), nullable=False),
    sa.Column('provider_id', sa.String(length=128), nullable=True),
    sa.Column('status', sa.String(length=16), nullable=False),
    sa.Column('input', sa.JSON(), nullable=False),
    sa.Column('outputs', sa.JSON(), nullable=False),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('predict_seconds', sa.Double(), nullable=True),
    sa.Column('download_attempted', sa.Boolean(), server_default=sa.false(), nullable=False),
    sa.Column('download_retries', sa.Integer(), server_default='0', nullable=False),
    sa.Column('download_error', sa.Text(), nullable=True),
    sa.Column('superseded', sa.Boolean(), server_default=sa.false(), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('fk_predictions_job_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_predictions')),
    sa.UniqueConstraint('source', 'provider_id', name=op.f('uq_predictions_source_provider_id'))
    )
    op.create_index('ix_predictions_job', 'predictions', ['job_id', 'id'], unique=False)
    op.create_index('ix_predictions_open', 'predictions', ['id'], unique=False, sqlite_where=OPEN, postgresql_where=OPEN)
