"""jobs for people

Revision ID: 0024
Revises: 0023

`jobs_readable`: a view for sqlite3 and psql, read-only. The application does not use it. A later change of the columns
that it names has to drop it first and create it again.
"""

from alembic import op

revision = '0024'
down_revision = '0023'
branch_labels = None
depends_on = None

SQLITE_TIME = "strftime('%Y-%m-%dT%H:%M:%fZ', {}, 'unixepoch')"
POSTGRESQL_TIME = "to_char(to_timestamp({}) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"

# With a CTE, because PostgreSQL would accept writes to a plain view.
VIEW = """
CREATE VIEW jobs_readable AS
WITH job AS (
    SELECT id, client_id, status, model_id, prompt, negative_prompt, created_at, started_at, completed_at, attempt,
           error_code, error_message
    FROM jobs
)
SELECT id,
       model_id AS model,
       prompt,
       negative_prompt,
       CASE WHEN status = 'FAILED' AND error_code = 'timeout' THEN 'timeout' ELSE lower(status) END AS status,
       (SELECT path FROM outputs WHERE job_id = job.id ORDER BY "index" LIMIT 1) AS image_path,
       (SELECT count(*) FROM outputs WHERE job_id = job.id) AS images,
       {created_at} AS created_at,
       {started_at} AS started_at,
       {completed_at} AS completed_at,
       attempt,
       client_id AS client,
       error_code,
       error_message
FROM job
"""


def upgrade() -> None:
    time = SQLITE_TIME if op.get_bind().dialect.name == 'sqlite' else POSTGRESQL_TIME
    names = ('created_at', 'started_at', 'completed_at')
    op.execute(VIEW.format(**{name: time.format(name) for name in names}))
