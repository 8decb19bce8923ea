"""What alembic runs for each command: on the connection that it was given, or into a script where there is none."""

from __future__ import annotations

from alembic import context

_SCHEMA = context.config.attributes["ledger_schema"]
_CONNECTION = context.config.attributes.get("connection")
_MAKE_SCHEMA = f"""
DO $$ BEGIN IF to_regnamespace('"{_SCHEMA}"') IS NULL THEN CREATE SCHEMA "{_SCHEMA}"; END IF; END $$
"""

if _CONNECTION is None:
    # The transaction is the caller's.
    context.configure(dialect_name="postgresql", version_table_schema=_SCHEMA, transactional_ddl=False)
else:
    context.configure(connection=_CONNECTION, version_table_schema=_SCHEMA)

with context.begin_transaction():
    if context.get_context().dialect.name == "postgresql":
        context.execute(_MAKE_SCHEMA)
    context.run_migrations()
