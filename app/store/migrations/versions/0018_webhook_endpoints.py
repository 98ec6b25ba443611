"""webhooks by endpoint, and pauses of those that time out

Revision ID: 0018
Revises: 0017

What is still to be delivered gets the endpoint of its URL. The digest is written out here: a migration must not change
with the code.
"""

import hashlib
from urllib.parse import urlsplit

import sqlalchemy as sa
from alembic import op

revision = '0018'
down_revision = '0017'
branch_labels = None
depends_on = None

PENDING = sa.text("state = 'PENDING'")


def upgrade() -> None:
    op.add_column('webhook_deliveries', sa.Column('endpoint', sa.String(length=32), nullable=False, server_default=''))
    op.create_table('webhook_pauses',
    sa.Column('endpoint', sa.String(length=32), nullable=False),
    sa.Column('timeouts', sa.Integer(), nullable=False),
    sa.Column('until', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('endpoint', name=op.f('pk_webhook_pauses'))
    )
    op.create_index('ix_webhook_deliveries_first', 'webhook_deliveries', ['tries_left', 'due_at'], unique=False, sqlite_where=PENDING, postgresql_where=PENDING)
    op.create_index('ix_webhook_deliveries_endpoint', 'webhook_deliveries', ['endpoint', 'due_at'], unique=False, sqlite_where=PENDING, postgresql_where=PENDING)
    connection = op.get_bind()
    deliveries = sa.table('webhook_deliveries', sa.column('seq'), sa.column('url'), sa.column('state'), sa.column('endpoint'))
    for row in connection.execute(sa.select(deliveries.c.seq, deliveries.c.url).where(deliveries.c.state == 'PENDING')).all():
        connection.execute(sa.update(deliveries).where(deliveries.c.seq == row.seq).values(endpoint=_endpoint(row.url)))


def _endpoint(url: str) -> str:
    parts = urlsplit(url)
    return hashlib.sha256(f"{parts.scheme}://{parts.netloc}".lower().encode() + (parts.path or '/').encode()).hexdigest()[:32]
