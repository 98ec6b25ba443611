"""counters, and who asked for a job

Revision ID: 0006
Revises: 0005

`counters`: what monitoring reads as totals. Triggers count accepted, ended and returned jobs in the transaction that
accepts, ends or returns them, so that the figures cover every process, and the rescue of jobs whose worker was killed.
Workers add what only they know. Shards as in `tallies` (migration 0003).

`jobs.request_id`: ties a job's log lines to the request that submitted it. `jobs.vram_peak_bytes`: measured.
"""

import sqlalchemy as sa
from alembic import op

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None

ENDED = "('COMPLETED','FAILED','CANCELLED')"
OUTCOME = "CASE {row}status WHEN 'FAILED' THEN coalesce({row}error_code, 'internal') ELSE lower({row}status) END"
ADD = (
    "INSERT INTO counters (name, model_id, detail, shard, value) VALUES ('{name}', NEW.model_id, {detail}, {shard}, 1)"
    " ON CONFLICT (name, model_id, detail, shard) DO UPDATE SET value = counters.value + excluded.value;"
)
TRIGGERS = {  # name: (when, condition, what to count)
    "count_job_accepted": ("AFTER INSERT ON jobs", None, {"name": "jobs_accepted", "detail": "''"}),
    "count_job_ended": (
        "AFTER UPDATE OF status ON jobs",
        f"OLD.status <> NEW.status AND NEW.status IN {ENDED}",
        {"name": "jobs_ended", "detail": OUTCOME.format(row="NEW.")},
    ),
    "count_job_returned": (
        "AFTER UPDATE OF status ON jobs",
        "OLD.status = 'PROCESSING' AND NEW.status = 'PENDING'",
        {"name": "jobs_returned", "detail": "coalesce(NEW.error_code, 'released')"},
    ),
}


def upgrade() -> None:
    op.add_column('jobs', sa.Column('request_id', sa.String(length=64), nullable=True))
    op.add_column('jobs', sa.Column('vram_peak_bytes', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True))
    op.create_table('counters',
    sa.Column('name', sa.String(length=32), nullable=False),
    sa.Column('model_id', sa.String(length=100), nullable=False),
    sa.Column('detail', sa.String(length=64), nullable=False),
    sa.Column('shard', sa.Integer(), nullable=False),
    sa.Column('value', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('name', 'model_id', 'detail', 'shard', name=op.f('pk_counters'))
    )
    op.execute("INSERT INTO counters SELECT 'jobs_accepted', model_id, '', 0, count(*) FROM jobs GROUP BY model_id")
    op.execute(
        f"INSERT INTO counters SELECT 'jobs_ended', model_id, outcome, 0, count(*) FROM"
        f" (SELECT model_id, {OUTCOME.format(row='')} AS outcome FROM jobs WHERE status IN {ENDED}) AS ended"
        " GROUP BY model_id, outcome"
    )
    create = _create_on_sqlite if op.get_bind().dialect.name == "sqlite" else _create_on_postgresql
    for name, (when, condition, what) in TRIGGERS.items():
        create(name, when, f"WHEN ({condition})" if condition else "", what)


def _create_on_sqlite(name: str, when: str, condition: str, what: dict[str, str]) -> None:
    op.execute(f"CREATE TRIGGER {name} {when} {condition} BEGIN {ADD.format(shard=0, **what)} END")


def _create_on_postgresql(name: str, when: str, condition: str, what: dict[str, str]) -> None:
    add = ADD.format(shard="pg_backend_pid() % 64", **what)
    op.execute(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {add} RETURN NULL; END $$")
    op.execute(f"CREATE TRIGGER {name} {when} FOR EACH ROW {condition} EXECUTE FUNCTION {name}()")
