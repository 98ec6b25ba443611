"""loras

Revision ID: 0013
Revises: 0012

Names given to LoRAs by hand.
"""

import sqlalchemy as sa
from alembic import op

revision = '0013'
down_revision = '0012'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('loras',
    sa.Column('name', sa.String(length=100), nullable=False),
    sa.Column('lora_id', sa.String(length=300), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_loras'))
    )
