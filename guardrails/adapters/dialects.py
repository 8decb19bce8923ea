"""SQLAlchemy's dialects over the guard's driver: nothing is asked of the database on connecting, and its catalogs are never read.

Types are converted as the dialects of psycopg, sqlite3 and PyMySQL convert them. Names come from `guardrails.adapters.reflection`.
"""
# ruff: noqa: ARG002  SQLAlchemy gives the methods their arguments

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import types
from sqlalchemy.dialects.mysql.base import MySQLDialect, MySQLExecutionContext
from sqlalchemy.dialects.postgresql import JSON, JSONB
from sqlalchemy.dialects.postgresql.base import PGDialect, PGExecutionContext
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.postgresql.ranges import AbstractRange
from sqlalchemy.dialects.sqlite.base import SQLiteDialect, SQLiteExecutionContext
from sqlalchemy.engine.default import DefaultDialect

from guardrails.adapters import dbapi
from guardrails.adapters.executor import Executor
from guardrails.adapters.reflection import Reflection
from guardrails.adapters.styles import as_params, as_written
from guardrails.errors import ConstraintError, UsageError

__all__ = ["GuardedDialect", "dialect_for"]

_ROWS_AT_ONCE = 50
"""Rows of one INSERT that SQLAlchemy makes of many: within the words and the rows changed that a policy usually allows a statement."""
_VALUES_AT_ONCE = 2_000


class GuardedDialect(Reflection, DefaultDialect):
    """What all the dialects have in common."""

    driver = "guardrails"
    supports_statement_cache = True
    # A cascade or a trigger counts among the rows changed.
    supports_sane_rowcount = False
    supports_sane_multi_rowcount = False
    # The last row's id is not known: keys come back through RETURNING.
    postfetch_lastrowid = False
    favor_returning_over_lastrowid = True
    supports_server_side_cursors = False
    insertmanyvalues_page_size = _ROWS_AT_ONCE
    insertmanyvalues_max_parameters = _VALUES_AT_ONCE
    has_terminate = True

    def initialize(self, connection: sa.Connection) -> None:
        """Asks nothing: what it would ask is known."""

    def on_connect(self) -> Callable[[Any], None] | None:
        return None

    def on_connect_url(self, url: sa.URL) -> Callable[[Any], None] | None:
        return None

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        options = context.execution_options if context is not None else {}
        if context is None or context.compiled is None:
            # Somebody else's text, with the placeholders of the driver that it was written for.
            statement, parameters = as_written(cursor.connection.dialect, statement, parameters)
        with _violations(statement):
            cursor.run(statement, as_params(parameters), **_marks(options))

    def do_executemany(self, cursor: Any, statement: str, parameters: Iterable[Any], context: Any = None) -> None:
        changed = 0
        for values in parameters:
            self.do_execute(cursor, statement, values, context)
            changed += max(cursor.rowcount, 0)
        cursor.count(changed)

    def do_execute_no_params(self, cursor: Any, statement: str, context: Any = None) -> None:
        with _violations(statement):
            cursor.run(statement, {}, **_marks(context.execution_options if context is not None else {}))

    def do_begin(self, dbapi_connection: Any) -> None:
        """Does nothing: the first change begins the transaction."""

    def do_rollback(self, dbapi_connection: Any) -> None:
        dbapi_connection.rollback()

    def do_commit(self, dbapi_connection: Any) -> None:
        with _violations("COMMIT"):
            dbapi_connection.commit()

    def do_close(self, dbapi_connection: Any) -> None:
        dbapi_connection.close()

    def do_terminate(self, dbapi_connection: Any) -> None:
        dbapi_connection.close()

    def do_savepoint(self, connection: sa.Connection, name: str) -> None:
        _driver_of(connection).save(name)

    def do_rollback_to_savepoint(self, connection: sa.Connection, name: str) -> None:
        _driver_of(connection).roll_back_to(name)

    def do_release_savepoint(self, connection: sa.Connection, name: str) -> None:
        _driver_of(connection).release(name)

    def do_begin_twophase(self, connection: sa.Connection, xid: Any) -> None:
        raise UsageError("usage.not_guarded", "A guarded connection has no two-phase commit.")

    def do_ping(self, dbapi_connection: Any) -> bool:
        return True

    def get_isolation_level_values(self, dbapi_conn: Any) -> Any:
        return ("AUTOCOMMIT", self.default_isolation_level)

    def get_default_isolation_level(self, dbapi_conn: Any) -> Any:
        return self.default_isolation_level

    def get_isolation_level(self, dbapi_connection: Any) -> Any:
        return "AUTOCOMMIT" if dbapi_connection.autocommit else self.default_isolation_level

    def set_isolation_level(self, dbapi_connection: Any, level: Any) -> None:
        dbapi_connection.autocommit = level == "AUTOCOMMIT"

    def reset_isolation_level(self, dbapi_conn: Any) -> None:
        dbapi_conn.autocommit = dbapi_conn.is_autocommit_meant

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:
        return False

    def get_driver_connection(self, connection: Any) -> Any:
        return connection


class _GuardedSQLite(GuardedDialect, SQLiteDialect):  # type: ignore[misc]
    supports_statement_cache = True
    default_schema_name = "main"
    default_isolation_level = "SERIALIZABLE"
    server_version_info = dbapi.sqlite_version_info


class _Parsed:
    """JSON that the engine's driver has parsed already."""

    def result_processor(self, dialect: Any, coltype: Any) -> None:
        return None


class _ParsedJSON(_Parsed, JSON):
    pass


class _ParsedJSONB(_Parsed, JSONB):
    pass


class _Exact:
    """Numbers as PostgreSQL's driver gives them: NUMERIC as Decimal, floating point as float."""

    asdecimal: bool
    _effective_decimal_return_scale: int

    def bind_processor(self, dialect: Any) -> None:
        return None

    def result_processor(self, dialect: Any, coltype: Any) -> Callable[[Any], Any]:
        return partial(_as_decimal, self._effective_decimal_return_scale) if self.asdecimal else _as_float


class _Numeric(_Exact, types.Numeric[Any]):
    pass


class _Float(_Exact, types.Float[Any]):
    pass


class _GuardedPostgres(GuardedDialect, PGDialect):  # type: ignore[misc]
    supports_statement_cache = True
    default_schema_name = "public"
    default_isolation_level = "READ COMMITTED"
    supports_native_decimal = True
    server_version_info = (13,)
    _backslash_escapes = False
    colspecs = {
        kind: implementation
        for kind, implementation in PGDialect_psycopg.colspecs.items()
        # Ranges come as their text.
        if not issubclass(kind, AbstractRange)
    } | {
        types.JSON: _ParsedJSON,
        JSON: _ParsedJSON,
        JSONB: _ParsedJSONB,
        types.Numeric: _Numeric,
        types.Float: _Float,
    }


class _GuardedMysql(GuardedDialect, MySQLDialect):
    supports_statement_cache = True
    default_isolation_level = "REPEATABLE READ"
    supports_native_decimal = True
    preexecute_autoincrement_sequences = False


class _GuardedDuckdb(GuardedDialect, PGDialect):  # type: ignore[misc]
    """PostgreSQL's way of writing SQL, which DuckDB reads."""

    name = "duckdb"
    supports_statement_cache = True
    default_schema_name = "main"
    default_isolation_level = "SERIALIZABLE"
    supports_native_decimal = True
    supports_smallserial = False
    server_version_info = (13,)
    _backslash_escapes = False
    colspecs = PGDialect.colspecs | {types.Numeric: _Numeric, types.Float: _Float}


class _Streaming:
    """Lets `AsyncConnection.stream` have its cursor, which is no other than usual."""

    def create_server_side_cursor(self: Any) -> Any:
        return self.create_default_cursor()


class _SQLiteContext(_Streaming, SQLiteExecutionContext):
    pass


class _PostgresContext(_Streaming, PGExecutionContext):
    pass


class _MysqlContext(_Streaming, MySQLExecutionContext):
    pass


class _Asynchronous:
    """For `AsyncEngine`."""

    is_async = True
    supports_server_side_cursors = True


class _AsyncSQLite(_Asynchronous, _GuardedSQLite):  # type: ignore[misc]
    supports_statement_cache = True
    execution_ctx_cls = _SQLiteContext


class _AsyncPostgres(_Asynchronous, _GuardedPostgres):  # type: ignore[misc]
    supports_statement_cache = True
    execution_ctx_cls = _PostgresContext


class _AsyncMysql(_Asynchronous, _GuardedMysql):
    supports_statement_cache = True
    execution_ctx_cls = _MysqlContext


class _AsyncDuckdb(_Asynchronous, _GuardedDuckdb):  # type: ignore[misc]
    supports_statement_cache = True
    execution_ctx_cls = _PostgresContext


_KINDS: Mapping[str, tuple[type[GuardedDialect], type[GuardedDialect], str]] = {
    "sqlite": (_GuardedSQLite, _AsyncSQLite, "named"),
    "postgres": (_GuardedPostgres, _AsyncPostgres, "named"),
    "mysql": (_GuardedMysql, _AsyncMysql, "named"),
    "duckdb": (_GuardedDuckdb, _AsyncDuckdb, "numeric_dollar"),
}


def dialect_for(guard: Executor, *, is_async: bool) -> GuardedDialect:
    """Returns a dialect over the guard's driver.

    Args:
        guard: The guard.
        is_async: For an `AsyncEngine`.

    Raises:
        UsageError: SQLAlchemy has no dialect for the database (usage.database_unsupported).
    """
    database = guard.database
    found = _KINDS.get(database.dialect)
    if found is None:
        raise UsageError("usage.database_unsupported", f"There is no engine of SQLAlchemy's for {database.dialect}.")
    sync, asynchronous, paramstyle = found
    kind: Any = asynchronous if is_async else sync
    made: Any = kind(dbapi=dbapi, paramstyle=paramstyle)
    made.guard = guard
    if isinstance(made, _GuardedMysql):
        _describe_mysql(made, *getattr(database, "server", (True, (10, 5))))
    version = getattr(database, "server_version", None)
    if version is not None:
        made.server_version_info = (version // 10_000, version % 10_000)
    return made  # type: ignore[no-any-return]


def _describe_mysql(dialect: Any, is_mariadb: bool, version: tuple[int, ...]) -> None:
    """Says what the dialect would ask the server."""
    dialect.server_version_info = version
    dialect._set_mariadb(is_mariadb, version)
    dialect.insert_returning = dialect.delete_returning = is_mariadb
    dialect.supports_sequences = False
    dialect._server_ansiquotes = False
    dialect._casing = 0


def _marks(options: Mapping[str, Any]) -> dict[str, str | None]:
    """The names that `execution_options` give a statement in the ledger."""
    return {"tool": options.get("guardrails_tool"), "tool_call_id": options.get("guardrails_tool_call_id")}


class _Violated(ConstraintError, sa.exc.IntegrityError):  # type: ignore[misc]  # SQLAlchemy's `code` names a page of its manual
    """What a program of SQLAlchemy's expects where a constraint would be violated, and one of ours all the same."""

    def __init__(self, error: ConstraintError, statement: str) -> None:
        sa.exc.IntegrityError.__init__(self, statement, None, error, hide_parameters=True)
        vars(self).update(vars(error))


@contextmanager
def _violations(statement: str) -> Iterator[None]:
    try:
        yield
    except ConstraintError as error:
        raise _Violated(error, statement) from error


def _driver_of(connection: sa.Connection) -> Any:
    return connection.connection.dbapi_connection


def _as_decimal(scale: int, value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(f"{value:.{scale}f}")
    return Decimal(value) if isinstance(value, int) else value


def _as_float(value: Any) -> Any:
    return float(value) if isinstance(value, (Decimal, int)) else value
