"""owners and keys

Revision ID: 0008
Revises: 0007

`owner` of outputs, deliveries and removals: whose they are, so that lists can be narrowed to it by an index and what
was removed is known to its owner only. `api_keys`: who may ask.
"""

import sqlalchemy as sa
from alembic import op

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None

OWNER_OF = "coalesce((SELECT client_id FROM jobs WHERE jobs.id = {table}.job_id), '')"


def upgrade() -> None:
    for table in ('outputs', 'webhook_deliveries'):
        op.add_column(table, sa.Column('owner', sa.String(length=100), server_default='', nullable=False))
        op.execute(f"UPDATE {table} SET owner = {OWNER_OF.format(table=table)}")
    op.add_column('removals', sa.Column('owner', sa.String(length=100), nullable=True))
    op.create_index('ix_outputs_owner_newest', 'outputs', ['owner', 'created_at', 'id'], unique=False)
    op.create_index('ix_webhook_deliveries_owner', 'webhook_deliveries', ['owner', 'seq'], unique=False)
    where = sa.text("status IN ('FAILED', 'CANCELLED')")
    op.create_index('ix_jobs_client_unsuccessful', 'jobs', ['client_id', 'status', 'seq'], unique=False,
        sqlite_where=where, postgresql_where=where)
    op.create_table('api_keys',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('name', sa.String(length=100), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False),
    sa.Column('role', sa.String(length=8), nullable=False),
    sa.Column('rate_limit_generate', sa.String(length=200), nullable=True),
    sa.Column('rate_limit_read', sa.String(length=200), nullable=True),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('last_used_at', sa.Double(), nullable=True),
    sa.Column('revoked_at', sa.Double(), nullable=True),
    sa.CheckConstraint("role IN ('user','admin')", name=op.f('ck_api_keys_role')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_api_keys')),
    sa.UniqueConstraint('sha256', name=op.f('uq_api_keys_sha256')),
    sqlite_autoincrement=True
    )
