"""the bin, and tags

Revision ID: 0032
Revises: 0029

`outputs.deleted_at`: since when a picture lies in the bin; `deletion_id`: the request that put it there, so that all that
it deleted can be restored together. The indexes of the gallery hold only what is not in the bin, so that a page costs the
same however much was deleted. `tallies` counts the bin apart (subject `bin`).

`output_tags`: the tags of a picture, with its time, so that the pictures of a tag are found newest first.
"""

import sqlalchemy as sa
from alembic import op

revision = '0032'
down_revision = '0029'
branch_labels = None
depends_on = None

GALLERY = {
    'ix_outputs_newest': ['created_at', 'id'],
    'ix_outputs_model_newest': ['model_id', 'created_at', 'id'],
    'ix_outputs_media_newest': ['media', 'created_at', 'id'],
    'ix_outputs_owner_newest': ['owner', 'created_at', 'id'],
    'ix_outputs_seed_newest': ['seed', 'created_at', 'id'],
}
ADD = (
    "INSERT INTO tallies (subject, shard, count, bytes) VALUES ({subject}, {shard}, {count}, {bytes})"
    " ON CONFLICT (subject, shard) DO UPDATE"
    " SET count = tallies.count + excluded.count, bytes = tallies.bytes + excluded.bytes;"
)
SUBJECT = "CASE WHEN {row}.deleted_at IS NULL THEN 'outputs' ELSE 'bin' END"
LEAVES = {"subject": SUBJECT.format(row="OLD"), "count": "-1", "bytes": "-OLD.bytes"}
ENTERS = {"subject": SUBJECT.format(row="NEW"), "count": "1", "bytes": "NEW.bytes"}
MOVED = "(OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL)"
TRIGGERS = {  # name: (when, condition, what to add)
    "tally_output_deleted": ("AFTER DELETE ON outputs", None, LEAVES),
    "tally_output_leaves": ("AFTER UPDATE OF deleted_at ON outputs", MOVED, LEAVES),
    "tally_output_enters": ("AFTER UPDATE OF deleted_at ON outputs", MOVED, ENTERS),
}


def upgrade() -> None:
    op.add_column('outputs', sa.Column('deleted_at', sa.Double(), nullable=True))
    op.add_column('outputs', sa.Column('deletion_id', sa.String(length=32), nullable=True))
    on_sqlite = op.get_bind().dialect.name == 'sqlite'
    true = 'IS 1' if on_sqlite else 'IS true'
    for name in GALLERY:
        if name != 'ix_outputs_seed_newest':
            op.drop_index(name, table_name='outputs', if_exists=True)
    for name, columns in GALLERY.items():
        _index(name, columns, 'deleted_at IS NULL')
    _index('ix_outputs_favorite_newest', ['created_at', 'id'], f'favorite {true} AND deleted_at IS NULL')
    _index('ix_outputs_bin', ['deleted_at', 'id'], 'deleted_at IS NOT NULL')
    _index('ix_outputs_deletion', ['deletion_id', 'deleted_at', 'id'], 'deletion_id IS NOT NULL AND deleted_at IS NOT NULL')
    op.create_table('output_tags',
    sa.Column('output_id', sa.String(length=32), nullable=False),
    sa.Column('tag', sa.String(length=200), nullable=False),
    sa.Column('label', sa.String(length=50), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.ForeignKeyConstraint(['output_id'], ['outputs.id'], name=op.f('fk_output_tags_output_id_outputs'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('output_id', 'tag', name=op.f('pk_output_tags'))
    )
    op.create_index('ix_output_tags_newest', 'output_tags', ['tag', 'created_at', 'output_id'], unique=False)
    _replace_triggers(on_sqlite)


def _index(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, 'outputs', columns, unique=False, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _replace_triggers(on_sqlite: bool) -> None:
    op.execute("DROP TRIGGER IF EXISTS tally_output_deleted" + ("" if on_sqlite else " ON outputs"))
    if not on_sqlite:
        op.execute("DROP FUNCTION IF EXISTS tally_output_deleted()")
    create = _create_on_sqlite if on_sqlite else _create_on_postgresql
    for name, (when, condition, what) in TRIGGERS.items():
        create(name, when, f"WHEN ({condition})" if condition else "", what)


def _create_on_sqlite(name: str, when: str, condition: str, what: dict[str, str]) -> None:
    op.execute(f"CREATE TRIGGER {name} {when} {condition} BEGIN {ADD.format(shard=0, **what)} END")


def _create_on_postgresql(name: str, when: str, condition: str, what: dict[str, str]) -> None:
    add = ADD.format(shard="pg_backend_pid() % 64", **what)
    # A copy of an older version that was loaded over a newer one leaves functions behind.
    op.execute(f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {add} RETURN NULL; END $$")
    op.execute(f"CREATE TRIGGER {name} {when} FOR EACH ROW {condition} EXECUTE FUNCTION {name}()")
