"""From a URL, or an engine of SQLAlchemy's, to an engine of ours. What is not understood is an error, never a guess."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import SingletonThreadPool, StaticPool

from guardrails.engines.base import Engine
from guardrails.errors import UsageError
from guardrails.model import DialectName

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["open_engine"]

_SQLITE = frozenset({"sqlite", "sqlite+pysqlite"})
_POSTGRES = frozenset({"postgresql", "postgresql+psycopg"})
_MYSQL = frozenset({"mysql", "mysql+pymysql", "mariadb", "mariadb+pymysql"})
_JUDGED: dict[str, DialectName] = {
    "mssql": "tsql",
    "snowflake": "snowflake",
    "bigquery": "bigquery",
    "redshift": "redshift",
    "databricks": "databricks",
    "oracle": "oracle",
    "trino": "trino",
}
"""Databases by the name in their URLs whose statements are judged only."""


def open_engine(database: str | sa.Engine | AsyncEngine, *, role: str | None = None) -> Engine:
    """Opens a database for guarded execution and checks that it answers.

    Args:
        database: `sqlite:///path`, `sqlite:////absolute/path`, `postgresql://…`, `postgresql+psycopg://…`, `mysql://…`,
            `duckdb:///path` (with `?access_mode=read_only` other processes may read the file too), or an engine of SQLAlchemy's.
            An engine with the drivers `sqlite3`, `psycopg` or `pymysql` is used through its own pool; of any other, an asynchronous
            one for instance, only the URL is used.
        role: PostgreSQL only: the role that every statement runs as (`SET LOCAL ROLE`); the login must be a member of it.

    Returns:
        The engine.

    Raises:
        UsageError: The URL is not supported or has unknown options (``usage.database_unsupported``), the database cannot be
            opened (``usage.database_unreachable``; a missing SQLite file is never created), or the driver is not installed
            (``usage.extra_missing``).
    """
    given = None if isinstance(database, str) else _apart(database)
    url = _url(database) if isinstance(database, str) else database.url
    backend = url.drivername.split("+")[0]
    if backend in _JUDGED:
        raise UsageError(
            "usage.database_unsupported",
            f"The dialect {_JUDGED[backend]} is judged only; nothing here runs its statements.",
            hint=f"Use `guardrails check --dialect {_JUDGED[backend]} --schema FILE`.",
        )
    if given is None and url.drivername not in _SQLITE | _POSTGRES | _MYSQL | {"duckdb"}:
        raise UsageError(
            "usage.database_unsupported", f"The driver {url.drivername[:40]!r} of the database URL is not supported."
        )
    if backend == "sqlite":
        if role is not None:
            raise UsageError("usage.database_unsupported", "SQLite has no roles.", hint="Leave `role` out.")
        return _open_sqlite(url, given)
    if backend == "postgresql":
        return _open_postgres(url, given, role)
    if backend == "duckdb":
        return _open_duckdb(url)
    if backend in ("mysql", "mariadb"):
        return _open_mysql(url, given)
    raise UsageError("usage.database_unsupported", f"The database {backend[:40]!r} is not supported.")


def _apart(engine: sa.Engine | AsyncEngine) -> sa.Engine | AsyncEngine:
    """Returns an engine of the same pool: whatever is done to the application's own object later, ours keeps what it has."""
    return sa.Engine(engine.pool, engine.dialect, engine.url) if isinstance(engine, sa.Engine) else engine


def _url(text: str) -> URL:
    try:
        return make_url(text)
    except (ArgumentError, ValueError) as error:
        raise UsageError("usage.database_unsupported", "The database URL does not parse.") from error


def _open_sqlite(url: URL, given: sa.Engine | AsyncEngine | None) -> Engine:
    from guardrails.engines.sqlite import PooledConnections, SqliteEngine, UrlConnections

    name = URL.create("sqlite", database=url.database).render_as_string()
    if isinstance(given, sa.Engine) and given.driver == "pysqlite":
        is_shared = isinstance(given.pool, (StaticPool, SingletonThreadPool))
        return SqliteEngine(name, PooledConnections(given, is_shared=is_shared)).checked()
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise UsageError(
            "usage.database_unsupported",
            "An in-memory database or a file: URI can only be reached through the engine that opened it.",
            hint="Give a synchronous SQLAlchemy engine with StaticPool, or a file: sqlite:///path.",
        )
    if url.host or url.username or url.password or url.port:
        raise UsageError("usage.database_unsupported", "A SQLite URL has three slashes before the path: sqlite:///shop.db.")
    if url.query and given is None:
        raise UsageError("usage.database_unsupported", f"Unknown options in the URL: {', '.join(sorted(url.query))}.")
    path = Path(url.database)
    if not path.is_file():
        raise UsageError("usage.database_unreachable", f"There is no file {url.database!r}; it is not created.")
    return SqliteEngine(name, UrlConnections(path.absolute())).checked()


def _open_duckdb(url: URL) -> Engine:
    try:
        from guardrails.engines.duckdb import DuckdbEngine
    except ImportError as error:
        raise UsageError("usage.extra_missing", "DuckDB is not installed.", hint="Install guardrails-sql[duckdb].") from error

    if not url.database or url.database.startswith(":memory:") or url.host or url.username or url.password or url.port:
        raise UsageError(
            "usage.database_unsupported",
            "A DuckDB database is a file, with three slashes before its path.",
            hint="Use duckdb:///shop.duckdb.",
        )
    mode = url.query.get("access_mode", "read_write")
    settings = {k: str(v) for k, v in url.query.items() if k in ("threads", "memory_limit")}
    if set(url.query) - settings.keys() - {"access_mode"} or mode not in ("read_only", "read_write"):
        raise UsageError(
            "usage.database_unsupported",
            "A DuckDB URL has the options access_mode (read_only or read_write), threads and memory_limit.",
        )
    path = Path(url.database)
    if not path.is_file():
        raise UsageError("usage.database_unreachable", f"There is no file {url.database!r}; it is not created.")
    name = URL.create("duckdb", database=url.database).render_as_string()
    return DuckdbEngine(name, path.absolute(), is_read_only=mode == "read_only", settings=settings).checked()


def _open_mysql(url: URL, given: sa.Engine | AsyncEngine | None) -> Engine:
    try:
        import pymysql
    except ImportError as error:
        raise UsageError("usage.extra_missing", "MySQL needs PyMySQL.", hint="Install guardrails-sql[mysql].") from error
    from guardrails.engines.mysql import MysqlEngine

    name = URL.create("mysql", host=url.host, port=url.port, database=url.database).render_as_string()
    if isinstance(given, sa.Engine) and given.driver == "pymysql":
        return MysqlEngine(name, given, is_own=False).checked()
    # The text is utf8mb4, one statement at a time, and no file of this machine is ever sent.
    own = url.set(drivername="mysql+pymysql").difference_update_query(
        ["charset", "local_infile", "client_flag", "init_command"]
    )
    arguments: dict[str, object] = {"charset": "utf8mb4", "local_infile": False}
    try:
        engine = sa.create_engine(own, pool_pre_ping=True, pool_timeout=10, connect_args=arguments)
        _, options = engine.dialect.create_connect_args(own)
        pymysql.Connection(**{**options, **arguments, "defer_connect": True})
    except (pymysql.MySQLError, sa.exc.SQLAlchemyError, ValueError, TypeError, NotImplementedError) as error:
        raise UsageError(
            "usage.database_unsupported",
            "The database URL has options that PyMySQL does not know.",
            evidence={"error": str(error)},
        ) from error
    return MysqlEngine(name, engine, is_own=True).checked()


def _open_postgres(url: URL, given: sa.Engine | AsyncEngine | None, role: str | None) -> Engine:
    try:
        import psycopg
    except ImportError as error:
        raise UsageError(
            "usage.extra_missing", "PostgreSQL needs psycopg.", hint="Install guardrails-sql[postgres]."
        ) from error
    from guardrails.engines.postgres import PostgresEngine

    name = URL.create("postgresql", host=url.host, port=url.port, database=url.database).render_as_string()
    if isinstance(given, sa.Engine) and given.driver == "psycopg":
        return PostgresEngine(name, given, role=role, is_own=False).checked()
    own = url.set(drivername="postgresql+psycopg")
    # The timeout holds for connecting only; a URL may set its own.
    arguments = {} if "connect_timeout" in url.query else {"connect_timeout": 10}
    try:
        engine = sa.create_engine(own, pool_pre_ping=True, pool_timeout=10, connect_args=arguments)
        positional, options = engine.dialect.create_connect_args(own)
        options.pop("context", None)  # The dialect's own, no option of libpq.
        psycopg.conninfo.make_conninfo(*positional, **options)
    except (psycopg.Error, sa.exc.SQLAlchemyError, ValueError, TypeError) as error:
        raise UsageError(
            "usage.database_unsupported",
            "The database URL has options that libpq does not know.",
            evidence={"error": str(error)},
        ) from error
    return PostgresEngine(name, engine, role=role, is_own=True).checked()
