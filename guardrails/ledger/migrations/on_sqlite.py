"""A ledger's tables in a SQLite file, whose version is in the file's header; alembic's table of it is in memory beside it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import sqlalchemy as sa

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.migrations.running import upgrade_to_newest
from guardrails.ledger.stores.sqlite_schema import APPLICATION_ID, FORMAT

__all__ = ["migrate_sqlite"]

_REVISIONS = {1: "0001", 2: "0002"}
"""By the file's user version."""


def migrate_sqlite(path: Path) -> tuple[str, str]:
    """See `guardrails.ledger.migrations.run.migrate`."""
    if not path.is_file():
        raise UsageError("usage.file_missing", f"There is no ledger at {path}.")
    engine = sa.create_engine("sqlite://", creator=lambda: _connect(path), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            before = _revision(connection)
            connection.exec_driver_sql("CREATE TABLE revisions.alembic_version (version_num VARCHAR(32) NOT NULL)")
            connection.exec_driver_sql("INSERT INTO revisions.alembic_version VALUES (?)", (before,))
            upgrade_to_newest(connection, "sqlite", "revisions")
            after = _revision(connection)
            connection.commit()
            # The old tables' pages, emptied by now, are not left as they were in the write-ahead log.
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            return before, after
    except sa.exc.SQLAlchemyError as error:
        raise LedgerError(
            "ledger.unavailable",
            "The ledger's tables could not be changed; they are as before.",
            evidence={"error": str(error)},
        ) from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=30)
    for setting in ("synchronous = FULL", "fullfsync = ON", "secure_delete = ON", "trusted_schema = OFF"):
        connection.execute(f"PRAGMA {setting}")
    connection.execute("ATTACH ':memory:' AS revisions")
    return connection


def _revision(connection: sa.Connection) -> str:
    version = connection.exec_driver_sql("PRAGMA user_version").scalar()
    if connection.exec_driver_sql("PRAGMA application_id").scalar() != APPLICATION_ID:
        raise LedgerError("ledger.unavailable", "The file is not a ledger.")
    if version not in _REVISIONS or version > FORMAT:
        raise LedgerError(
            "ledger.unavailable", "The ledger's file format is of another version.", evidence={"version": version}
        )
    return _REVISIONS[version]
