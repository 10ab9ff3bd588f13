"""Run by Alembic: brings the connection that it is given up to date (see `hub.store.database`)."""

from alembic import context

from hub.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
