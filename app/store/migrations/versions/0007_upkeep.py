"""upkeep

Revision ID: 0007
Revises: 0006

`outputs.favorite`: kept by retention. `chores`: which upkeep is due when, so that of all processes one does it.
"""

import sqlalchemy as sa
from alembic import op

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('outputs', sa.Column('favorite', sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table('chores',
    sa.Column('name', sa.String(length=64), nullable=False),
    sa.Column('due_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_chores'))
    )
    op.create_index('ix_removals_removed_at', 'removals', ['removed_at'], unique=False)
    op.create_index('ix_idempotency_keys_created_at', 'idempotency_keys', ['created_at'], unique=False)
