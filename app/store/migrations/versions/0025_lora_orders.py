"""requests to load and unload LoRAs

Revision ID: 0025
Revises: 0024

`model_orders.lora`: the LoRA to load into the model, or to unload from it; null for the model itself.
"""

import sqlalchemy as sa
from alembic import op

revision = '0025'
down_revision = '0024'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('model_orders', sa.Column('lora', sa.Text(), nullable=True))
