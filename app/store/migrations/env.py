"""Alembic environment: runs on the connection passed by `app.store.db.migrate`, inside its transaction."""

from alembic import context

from app.store.db.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter most things in place
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
