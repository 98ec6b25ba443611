"""batches

Revision ID: 0033
Revises: 0032

`batches`: many jobs that were accepted together. `jobs.batch_id` and `jobs.batch_place`: which batch a job is of, and its
place on the axes. `batch_tallies`: how many jobs of a batch are in each status, kept by triggers as in migration 0003, so
that the status of a batch of ten thousand jobs reads a few rows.
"""

import sqlalchemy as sa
from alembic import op

revision = '0033'
down_revision = '0032'
branch_labels = None
depends_on = None

TAIL = (
    " ON CONFLICT (batch_id, status, shard) DO UPDATE SET count = batch_tallies.count + excluded.count;"
)
ADD = (
    "INSERT INTO batch_tallies (batch_id, status, shard, count) VALUES ({row}.batch_id, {row}.status, {shard}, {number})"
) + TAIL
# Both rows in one order for all writers: else two of them with one shard could wait for each other.
MOVE = (
    "INSERT INTO batch_tallies (batch_id, status, shard, count)"
    " SELECT batch, status, {shard}, number FROM"
    " (SELECT NEW.batch_id AS batch, OLD.status AS status, -1 AS number UNION ALL SELECT NEW.batch_id, NEW.status, 1) AS moved"
    " WHERE true ORDER BY status"
) + TAIL
MOVED = "NEW.batch_id IS NOT NULL AND OLD.status <> NEW.status"
TRIGGERS = {  # name: (when, condition, what to add)
    "tally_batch_inserted": ("AFTER INSERT ON jobs", "NEW.batch_id IS NOT NULL", ADD, {"row": "NEW", "number": "1"}),
    "tally_batch_moved": ("AFTER UPDATE OF status ON jobs", MOVED, MOVE, {}),
    "tally_batch_deleted": ("AFTER DELETE ON jobs", "OLD.batch_id IS NOT NULL", ADD, {"row": "OLD", "number": "-1"}),
}


def upgrade() -> None:
    op.create_table('batches',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('owner', sa.String(length=100), nullable=False),
    sa.Column('name', sa.String(length=200), nullable=True),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('ended_at', sa.Double(), nullable=True),
    sa.Column('paused_at', sa.Double(), nullable=True),
    sa.Column('stopped', sa.String(length=16), nullable=True),
    sa.Column('priority', sa.Integer(), nullable=False),
    sa.Column('jobs', sa.Integer(), nullable=False),
    sa.Column('axes', sa.JSON(), nullable=False),
    sa.Column('request', sa.JSON(), nullable=False),
    sa.Column('warnings', sa.JSON(), nullable=False),
    sa.Column('webhook_url', sa.Text(), nullable=True),
    sa.Column('max_seconds', sa.Double(), nullable=True),
    sa.Column('max_spend', sa.Double(), nullable=True),
    sa.Column('spent', sa.Double(), nullable=False),
    sa.Column('request_id', sa.String(length=64), nullable=True),
    sa.Column('percent_told', sa.Integer(), nullable=False),
    sa.Column('ended_told', sa.Integer(), nullable=False),
    sa.Column('progressed_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_batches'))
    )
    op.create_index('ix_batches_owner', 'batches', ['owner', 'id'])
    open_ = sa.text('ended_at IS NULL')
    op.create_index('ix_batches_open', 'batches', ['id'], sqlite_where=open_, postgresql_where=open_)
    op.create_table('batch_tallies',
    sa.Column('batch_id', sa.String(length=32), nullable=False),
    sa.Column('status', sa.String(length=10), nullable=False),
    sa.Column('shard', sa.Integer(), nullable=False),
    sa.Column('count', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.PrimaryKeyConstraint('batch_id', 'status', 'shard', name=op.f('pk_batch_tallies'))
    )
    op.add_column('jobs', sa.Column('batch_id', sa.String(length=32), nullable=True))
    op.add_column('jobs', sa.Column('batch_place', sa.Integer(), nullable=True))
    of_batch = sa.text('batch_id IS NOT NULL')
    op.create_index('ix_jobs_batch', 'jobs', ['batch_id', 'batch_place'], sqlite_where=of_batch, postgresql_where=of_batch)
    create = _create_on_sqlite if op.get_bind().dialect.name == 'sqlite' else _create_on_postgresql
    for name, (when, condition, add, values) in TRIGGERS.items():
        create(name, when, f"WHEN ({condition})", add, values)


def _create_on_sqlite(name: str, when: str, condition: str, add: str, values: dict[str, str]) -> None:
    op.execute(f"CREATE TRIGGER {name} {when} {condition} BEGIN {add.format(shard=0, **values)} END")


def _create_on_postgresql(name: str, when: str, condition: str, add: str, values: dict[str, str]) -> None:
    body = add.format(shard="pg_backend_pid() % 64", **values)
    # A copy of an older version that was loaded over a newer one leaves functions behind.
    op.execute(f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$")
    op.execute(f"CREATE TRIGGER {name} {when} FOR EACH ROW {condition} EXECUTE FUNCTION {name}()")
