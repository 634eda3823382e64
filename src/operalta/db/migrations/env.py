"""Alembic's entry: it runs what is missing in the transaction that `operalta.db.migrate` has open, and ends nothing."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
with context.begin_transaction():
    context.run_migrations()
