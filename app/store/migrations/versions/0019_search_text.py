"""what the gallery searches in

Revision ID: 0019
Revises: 0018

`outputs.search_text`: the prompt with case and width taken away by Unicode's rules, which SQLite does not know.
"""

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = '0019'
down_revision = '0018'
branch_labels = None
depends_on = None

ROWS_AT_ONCE = 1000


def upgrade() -> None:
    op.add_column('outputs', sa.Column('search_text', sa.Text(), nullable=False, server_default=''))
    connection, after = op.get_bind(), ''
    page = sa.text(
        "SELECT outputs.id, jobs.prompt FROM outputs JOIN jobs ON jobs.id = outputs.job_id"
        f" WHERE outputs.id > :after ORDER BY outputs.id LIMIT {ROWS_AT_ONCE}"
    )
    fill = sa.text("UPDATE outputs SET search_text = :text WHERE id = :id")
    while rows := connection.execute(page, {"after": after}).all():
        connection.execute(fill, [{"id": row.id, "text": _folded(row.prompt)} for row in rows])
        after = rows[-1].id


def _folded(text: str) -> str:
    """As app.core.search had it when this was written."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return plain.replace("i\u0307", "i")
