"""What alembic runs: the revisions, on the connection and in the transaction that `cloud.schema` gives it."""

from __future__ import annotations

from alembic import context

from cloud.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
