"""Alembic runs this for each command. The connection comes from `migrating.py`, or from `scripts/new_migration.py`."""

from __future__ import annotations

from alembic import context

from holdfast.store.base import Base


def run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        user_module_prefix="types.",
        render_as_batch=connection.dialect.name == "sqlite",  # SQLite alters a table by copying it
    )
    with context.begin_transaction():
        context.run_migrations()


run()
