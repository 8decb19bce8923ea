"""A guard as an SQLAlchemy engine, for tools whose SQL never shows in their arguments: whatever they execute is guarded.

The engine stands on `guardrails.integrations.dbapi`: each write is a transaction of its own, and a rollback takes nothing back. Nothing is
asked of the database when a connection is opened. Refusals are raised as they are (`Denied`, `ApprovalRequired`), not wrapped in
SQLAlchemy's errors. Reflection shows SQLite's tables, views and columns as far as the principal may read them; what else it asks of an
engine's own catalogs is refused.
"""
# ruff: noqa: ARG002  SQLAlchemy gives the methods their arguments

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import types
from sqlalchemy.dialects.postgresql import JSON, JSONB
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.engine.url import URL
from sqlalchemy.pool import NullPool

from guardrails.guard import Guard
from guardrails.integrations import dbapi

__all__ = ["guarded_engine"]


def guarded_engine(guard: Guard, *, tool: str = "sqlalchemy") -> sa.Engine:
    """Returns an engine whose every statement goes through a guard.

    Args:
        guard: The guard, on SQLite or PostgreSQL; a session must be active when a statement is executed.
        tool: The name under which statements are recorded.

    Returns:
        A synchronous engine. It holds no connections; closing the guard ends it.

    Example:
        >>> def open_orders(engine: sa.Engine) -> int:
        ...     with engine.connect() as connection:
        ...         return connection.scalar(sa.text("SELECT COUNT(*) FROM orders WHERE status = 'open'"))
    """
    kind = _DIALECTS[guard.database.dialect]
    dialect = kind(dbapi=cast(Any, dbapi), paramstyle="named")
    pool = NullPool(lambda: dbapi.connect(guard, tool=tool), dialect=dialect, reset_on_return=None)  # type: ignore[arg-type]
    return sa.Engine(pool, dialect, URL.create(f"{dialect.name}+{dialect.driver}"))


class _GuardedDialect(DefaultDialect):
    """What both dialects have in common: nothing is asked of the database, and there are no transactions."""

    driver = "guardrails"
    supports_statement_cache = True
    # A cascade or a trigger counts among the rows changed.
    supports_sane_rowcount = False
    supports_sane_multi_rowcount = False
    # The last row's id is not known: keys come back through RETURNING.
    postfetch_lastrowid = False
    favor_returning_over_lastrowid = True
    default_isolation_level = "AUTOCOMMIT"

    def initialize(self, connection: sa.Connection) -> None:
        """Asks nothing: what it would ask is known."""

    def on_connect(self) -> Callable[[Any], None] | None:
        return None

    def do_begin(self, dbapi_connection: Any) -> None:
        """Does nothing: each write is a transaction of its own."""

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Does nothing, and takes nothing back."""

    def do_commit(self, dbapi_connection: Any) -> None:
        """Does nothing: each write is committed when it returns."""

    def do_ping(self, dbapi_connection: Any) -> bool:
        return True

    def get_isolation_level(self, dbapi_connection: Any) -> Any:
        return "AUTOCOMMIT"

    def get_isolation_level_values(self, dbapi_conn: Any) -> Any:
        return ("AUTOCOMMIT",)

    def set_isolation_level(self, dbapi_connection: Any, level: Any) -> None:
        """Does nothing: there is only one."""

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:
        return False


class _GuardedSQLite(_GuardedDialect, SQLiteDialect):
    supports_statement_cache = True
    default_schema_name = "main"
    server_version_info = dbapi.sqlite_version_info


class _ParsedJSON(types.JSON):
    """JSON that the driver has parsed already."""

    def result_processor(self, dialect: Any, coltype: Any) -> None:
        return None


class _ParsedPostgresJSON(JSON):
    def result_processor(self, dialect: Any, coltype: Any) -> None:
        return None


class _ParsedPostgresJSONB(JSONB):
    def result_processor(self, dialect: Any, coltype: Any) -> None:
        return None


class _GuardedPostgres(_GuardedDialect, PGDialect):
    supports_statement_cache = True
    default_schema_name = "public"
    # The oldest that is tested; it decides about DDL and reflection only.
    server_version_info = (13,)
    colspecs = PGDialect.colspecs | {types.JSON: _ParsedJSON, JSON: _ParsedPostgresJSON, JSONB: _ParsedPostgresJSONB}


_DIALECTS: dict[str, type[_GuardedDialect]] = {"sqlite": _GuardedSQLite, "postgres": _GuardedPostgres}
