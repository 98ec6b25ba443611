"""what the line remembers, and tallies

Revision ID: 0003
Revises: 0002

`jobs.overtaken_at`: since when the head of the line has been passed over by jobs of a loaded model.

`ix_jobs_ended` takes the place of an index over all jobs that drew SQLite away from the line's own.

`tallies`: how many ended jobs and outputs there are, kept by triggers, because counting a million rows of history for
every look at the queue takes too long, and because a trigger cannot be forgotten by the next statement somebody adds.
On PostgreSQL each connection counts on a row of its own (`shard`), so that two workers that complete at the same time do
not wait for each other's commit; the sum over the shards is the exact count.
"""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None

ENDED = "('COMPLETED','FAILED','CANCELLED')"
ADD = (
    "INSERT INTO tallies (subject, shard, count, bytes) VALUES ({subject}, {shard}, {count}, {bytes})"
    " ON CONFLICT (subject, shard) DO UPDATE"
    " SET count = tallies.count + excluded.count, bytes = tallies.bytes + excluded.bytes;"
)
LEAVES = {"subject": "OLD.status", "count": "-1", "bytes": "0"}
ENTERS = {"subject": "NEW.status", "count": "1", "bytes": "0"}
UNPUBLISHED = {"subject": "'outputs'", "count": "-1", "bytes": "-OLD.bytes"}
PUBLISHED = {"subject": "'outputs'", "count": "1", "bytes": "NEW.bytes"}
TRIGGERS = {  # name: (when, condition, what to add)
    "tally_job_leaves": ("AFTER UPDATE OF status ON jobs", f"OLD.status <> NEW.status AND OLD.status IN {ENDED}", LEAVES),
    "tally_job_enters": ("AFTER UPDATE OF status ON jobs", f"OLD.status <> NEW.status AND NEW.status IN {ENDED}", ENTERS),
    "tally_job_inserted": ("AFTER INSERT ON jobs", f"NEW.status IN {ENDED}", ENTERS),
    "tally_job_deleted": ("AFTER DELETE ON jobs", f"OLD.status IN {ENDED}", LEAVES),
    "tally_output_inserted": ("AFTER INSERT ON outputs", None, PUBLISHED),
    "tally_output_deleted": ("AFTER DELETE ON outputs", None, UNPUBLISHED),
}


def upgrade() -> None:
    op.add_column('jobs', sa.Column('overtaken_at', sa.Double(), nullable=True))
    op.drop_index('ix_jobs_status_seq', table_name='jobs')
    where = sa.text("status IN ('COMPLETED', 'FAILED', 'CANCELLED')")
    op.create_index('ix_jobs_ended', 'jobs', ['status', 'seq'], sqlite_where=where, postgresql_where=where)
    op.create_index('ix_outputs_media_newest', 'outputs', ['media', 'created_at', 'id'], unique=False)
    op.create_table('tallies',
    sa.Column('subject', sa.String(length=16), nullable=False),
    sa.Column('shard', sa.Integer(), nullable=False),
    sa.Column('count', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('bytes', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.PrimaryKeyConstraint('subject', 'shard', name=op.f('pk_tallies'))
    )
    op.execute(f"INSERT INTO tallies SELECT status, 0, count(*), 0 FROM jobs WHERE status IN {ENDED} GROUP BY status")
    op.execute("INSERT INTO tallies SELECT 'outputs', 0, count(*), coalesce(sum(bytes), 0) FROM outputs")
    create = _create_on_sqlite if op.get_bind().dialect.name == "sqlite" else _create_on_postgresql
    for name, (when, condition, what) in TRIGGERS.items():
        create(name, when, f"WHEN ({condition})" if condition else "", what)


def _create_on_sqlite(name: str, when: str, condition: str, what: dict[str, str]) -> None:
    op.execute(f"CREATE TRIGGER {name} {when} {condition} BEGIN {ADD.format(shard=0, **what)} END")


def _create_on_postgresql(name: str, when: str, condition: str, what: dict[str, str]) -> None:
    add = ADD.format(shard="pg_backend_pid() % 64", **what)
    op.execute(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {add} RETURN NULL; END $$")
    op.execute(f"CREATE TRIGGER {name} {when} FOR EACH ROW {condition} EXECUTE FUNCTION {name}()")
