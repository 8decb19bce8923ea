"""PostgreSQL: the schema rebuilt from the system catalogs, the twins as databases of their own on a server."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import closing
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from guardrails.engines import Engine, open_engine
from guardrails.errors import UsageError
from guardrails.model import Catalog
from guardrails.proving.copying.postgres_schema import read_schema
from guardrails.proving.copying.schema import SourceSchema
from guardrails.proving.copying.workshop import Scratch

__all__ = ["PostgresWorkshop"]

_PREFIX = "guardrails_prove_"


class PostgresWorkshop:
    """Twins of one database of a server."""

    def __init__(self, url: str, scratch_url: str) -> None:
        self._source = make_url(url)
        self._server = make_url(scratch_url)
        self._default_schema = "public"
        self._engines: list[Engine] = []
        self._connections: list[Any] = []
        self._made: list[str] = []

    def catalog(self) -> Catalog:
        engine = open_engine(self._source.render_as_string(hide_password=False))
        try:
            catalog = engine.catalog()
        finally:
            engine.dispose()
        self._default_schema = catalog.default_schema
        return catalog

    def read(self) -> SourceSchema:
        with closing(self._connect(self._source)) as connection:
            connection.execute("SET default_transaction_read_only = on")
            return read_schema(lambda sql: connection.execute(sql).fetchall(), self._default_schema)

    def create(self) -> Scratch:
        import psycopg

        name = _PREFIX + secrets.token_hex(6)
        try:
            with closing(self._connect(self._server)) as connection:
                connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        except psycopg.Error as error:
            raise UsageError(
                "usage.scratch_refused", "The server lets this login make no database.", evidence={"error": str(error)}
            ) from error
        self._made.append(name)
        url = self._server.set(database=name)
        opened = self._connect(url)
        self._connections.append(opened)
        # What has not reached the disk when the machine falls was never worth keeping.
        opened.execute("SET synchronous_commit = off")

        def execute(sql: str, values: Sequence[object]) -> list[Any]:
            cursor = opened.execute(sql, list(values) or None)
            return cast("list[Any]", cursor.fetchall()) if cursor.description else []

        marks = ("SAVEPOINT one_row", "RELEASE SAVEPOINT one_row", "ROLLBACK TO SAVEPOINT one_row")
        errors = (psycopg.Error, ValueError, OverflowError)
        return Scratch(url.render_as_string(hide_password=False), execute, errors, "%s", '"', marks, opened.close)

    def open(self, scratch: Scratch) -> Engine:
        engine = open_engine(scratch.url)
        self._engines.append(engine)
        return engine

    def close(self) -> None:
        for engine in self._engines:
            engine.dispose()
        for connection in self._connections:
            connection.close()
        if self._made:
            with closing(self._connect(self._server)) as connection:
                for name in self._made:
                    connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _connect(self, url: URL) -> Any:
        try:
            import psycopg
        except ImportError as error:
            raise UsageError(
                "usage.extra_missing", "PostgreSQL needs psycopg.", hint="Install guardrails-sql[postgres]."
            ) from error
        pool = sa.create_engine(url.set(drivername="postgresql+psycopg"), poolclass=NullPool)
        try:
            lent = pool.raw_connection()
        except (psycopg.Error, sa.exc.SQLAlchemyError) as error:
            raise UsageError(
                "usage.database_unreachable", "The database server does not answer.", evidence={"error": str(error)}
            ) from error
        connection: Any = lent.driver_connection
        lent.detach()
        connection.rollback()
        connection.autocommit = True
        return connection
