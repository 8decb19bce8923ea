"""What alembic runs for each command: on the connection that it was given, or into a script where there is none."""

from __future__ import annotations

from alembic import context

_SCHEMA = context.config.attributes["ledger_schema"]
_MAKE_SCHEMA = f"""
DO $$ BEGIN IF to_regnamespace('"{_SCHEMA}"') IS NULL THEN CREATE SCHEMA "{_SCHEMA}"; END IF; END $$
"""

if context.is_offline_mode():
    # The transaction is the caller's.
    context.configure(dialect_name="postgresql", version_table_schema=_SCHEMA, transactional_ddl=False)
else:
    context.configure(connection=context.config.attributes["connection"], version_table_schema=_SCHEMA)

with context.begin_transaction():
    context.execute(_MAKE_SCHEMA)
    context.run_migrations()
