"""A ledger's tables in PostgreSQL: a new ledger's are made by the same revisions that an old one's are brought up to date with."""

from __future__ import annotations

import sqlalchemy as sa

from guardrails.errors import LedgerError
from guardrails.ledger.migrations.running import script_to_newest, upgrade_to_newest
from guardrails.ledger.stores.postgres_connect import Link, Target
from guardrails.ledger.stores.postgres_locking import DURABLY, FIRST_LOCK

__all__ = ["migrate_postgres", "postgres_script"]


def migrate_postgres(url: str, *, schema: str | None = None) -> tuple[str | None, str]:
    """See `guardrails.ledger.migrations.run.migrate`. The login is the tables' owner, or may make them."""
    target = Target.parse(url, schema=schema)
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: _connect(target), poolclass=sa.NullPool)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(DURABLY)
            connection.exec_driver_sql(FIRST_LOCK, (target.schema,))
            if connection.execute(sa.text("SELECT to_regclass(:name)"), {"name": f'"{target.schema}".head'}).scalar():
                connection.exec_driver_sql(f'LOCK TABLE "{target.schema}".head IN ACCESS EXCLUSIVE MODE')
            before = _revision(connection, target.schema)
            upgrade_to_newest(connection, "postgres", target.schema)
            return before, str(_revision(connection, target.schema))
    except sa.exc.SQLAlchemyError as error:
        raise LedgerError(
            "ledger.unavailable",
            "The ledger's tables could not be changed; they are as before.",
            evidence={"error": str(error)},
        ) from error


def postgres_script(schema: str) -> str:
    """Returns the SQL that makes a new ledger's tables in a schema, for a transaction that is already open."""
    return script_to_newest("postgres", schema)


def _connect(target: Target) -> object:
    connection = Link.open(target).connection
    connection.autocommit = False
    return connection


def _revision(connection: sa.Connection, schema: str) -> str | None:
    table = f'"{schema}".alembic_version'
    if connection.execute(sa.text("SELECT to_regclass(:name)"), {"name": table}).scalar() is None:
        return None
    versions = sa.table("alembic_version", sa.column("version_num", sa.String), schema=schema)
    return connection.execute(sa.select(versions.c.version_num)).scalar()
