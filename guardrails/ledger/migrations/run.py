"""Bringing a ledger's tables to this release's revision.

https://alembic.sqlalchemy.org/en/latest/api/commands.html
"""

from __future__ import annotations

import io
import threading
from pathlib import Path

import sqlalchemy as sa

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.stores.postgres_connect import Link, Target
from guardrails.ledger.stores.postgres_locking import DURABLY, FIRST_LOCK

try:
    from alembic import command
    from alembic.config import Config
except ImportError as error:
    raise UsageError(
        "usage.extra_missing",
        "Making or changing a ledger's tables in PostgreSQL needs alembic.",
        hint="Install guardrails-sql[postgres].",
    ) from error

__all__ = ["migrate", "postgres_script"]

_HERE = Path(__file__).parent
# alembic's `op` and `context` are one for the whole process.
_ALONE = threading.Lock()


def migrate(url: str, *, schema: str | None = None) -> tuple[str | None, str]:
    """Brings the tables of a ledger in PostgreSQL to this release's revision, making them where there are none.

    The ledger is locked meanwhile, and either all of it happens or nothing. The login is the tables' owner, or may make them.

    Args:
        url: As for `guardrails.ledger.stores.postgres.PostgresStore`.
        schema: The same.

    Returns:
        The revision before (None for no tables) and the one now.

    Raises:
        LedgerError: The server cannot be reached or refuses (ledger.unavailable).
    """
    target = Target.parse(url, schema=schema)
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: _connect(target), poolclass=sa.NullPool)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(DURABLY)
            connection.exec_driver_sql(FIRST_LOCK, (target.schema,))
            if connection.execute(sa.text("SELECT to_regclass(:name)"), {"name": f'"{target.schema}".head'}).scalar():
                connection.exec_driver_sql(f'LOCK TABLE "{target.schema}".head IN ACCESS EXCLUSIVE MODE')
            before = _revision(connection, target.schema)
            config = _config("postgres", target.schema)
            config.attributes["connection"] = connection
            with _ALONE:
                command.upgrade(config, "head")
            return before, str(_revision(connection, target.schema))
    except sa.exc.SQLAlchemyError as error:
        raise LedgerError(
            "ledger.unavailable",
            "The ledger's tables could not be changed; they are as before.",
            evidence={"error": str(error)},
        ) from error


def postgres_script(schema: str) -> str:
    """Returns the SQL that makes a new ledger's tables in a schema, for a transaction that is already open."""
    config = _config("postgres", schema)
    config.output_buffer = io.StringIO()
    with _ALONE:
        command.upgrade(config, "head", sql=True)
    return config.output_buffer.getvalue()


def _connect(target: Target) -> object:
    connection = Link.open(target).connection
    connection.autocommit = False
    return connection


def _config(dialect: str, schema: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("version_locations", str(_HERE / dialect).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["ledger_schema"] = schema
    return config


def _revision(connection: sa.Connection, schema: str) -> str | None:
    table = f'"{schema}".alembic_version'
    if connection.execute(sa.text("SELECT to_regclass(:name)"), {"name": table}).scalar() is None:
        return None
    versions = sa.table("alembic_version", sa.column("version_num", sa.String), schema=schema)
    return connection.execute(sa.select(versions.c.version_num)).scalar()
