"""MariaDB and MySQL: the schema by SHOW CREATE, the twins as databases of their own on a server.

Their sessions sort equals by place (a setting of MariaDB's): in memory they are sorted by address, which differs from session to
session whatever the data, and would hide what does depend on it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from guardrails.engines import Engine, open_engine
from guardrails.errors import UsageError
from guardrails.model import Catalog
from guardrails.proving.copying.schema import Definition, ForeignKey, SourceSchema
from guardrails.proving.copying.text import enum_labels, literals_in
from guardrails.proving.copying.workshop import Scratch

__all__ = ["MysqlWorkshop"]

_SETTLED = "SET SESSION tmp_memory_table_size = 0"
_MODES = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
_DEFINER = re.compile(r"\bDEFINER=(?:`(?:[^`]|``)*`|[^@\s]+)@(?:`(?:[^`]|``)*`|\S+) ")
_PREFIX = "guardrails_prove_"


class MysqlWorkshop:
    """Twins of one database of a server."""

    def __init__(self, url: str, scratch_url: str) -> None:
        self._source = make_url(url)
        self._server = make_url(scratch_url)
        if not self._source.database:
            raise UsageError("usage.input_invalid", "The URL names no database.", hint="Add /NAME to it.")
        self._engines: list[Engine] = []
        self._pools: list[sa.Engine] = []
        self._connections: list[Any] = []
        self._made: list[str] = []

    def catalog(self) -> Catalog:
        engine = open_engine(self._source.render_as_string(hide_password=False))
        try:
            return engine.catalog()
        finally:
            engine.dispose()

    def read(self) -> SourceSchema:
        database = str(self._source.database)
        with closing(self._connect(self._source)) as connection, connection.cursor() as cursor:

            def ask(sql: str, *values: str) -> list[Any]:
                cursor.execute(sql, values or None)
                return list(cursor.fetchall())

            listed = ask(
                "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s ORDER BY 1", database
            )
            words = {"VIEW": "VIEW", "SEQUENCE": "SEQUENCE"}
            texts = {n: ask(f"SHOW CREATE {words.get(kind, 'TABLE')} {_quoted(n)}")[0][1] for n, kind in listed}
            keys = ask(
                "SELECT TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME"
                " FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = %s AND REFERENCED_TABLE_SCHEMA = %s"
                " ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION", database, database,
            )  # fmt: skip
            columns = ask(
                "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s", database
            )
            routines = ask("SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s", database)
            triggers = ask("SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s", database)
        order = {"SEQUENCE": 0, "VIEW": 2}
        made = [
            Definition(name, _DEFINER.sub("", texts[name]).replace(f"{_quoted(database)}.", ""))
            for name, _ in sorted(listed, key=lambda row: order.get(row[1], 1))
        ]
        parts: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
        for table, constraint, column, parent, target in keys:
            parts.setdefault((table, constraint), []).append((column, parent, target))
        found: dict[str, list[ForeignKey]] = {}
        for (table, _), rows in parts.items():
            key = ForeignKey(tuple(r[0] for r in rows), rows[0][1], tuple(r[2] for r in rows))
            found.setdefault(table, []).append(key)
        left_out = [
            *((f"routine {n}", "functions are not copied") for (n,) in routines),
            *((f"trigger {n}", "triggers are not copied") for (n,) in triggers),
        ]
        tables = [n for n, kind in listed if kind not in words]
        return SourceSchema(
            tuple(made),
            (Definition("keys", "SET SESSION foreign_key_checks = 1"),),
            (Definition("ANALYZE", f"ANALYZE TABLE {', '.join(_quoted(t) for t in tables)}"),) if tables else (),
            {table: tuple(rows) for table, rows in found.items()},
            {n: literals_in(texts[n]) for n in tables},
            {(t, c): labels for t, c, type_ in columns if (labels := enum_labels(type_))},
            left_out=tuple(left_out),
        )

    def create(self) -> Scratch:
        import pymysql

        name = _PREFIX + secrets.token_hex(6)
        try:
            with closing(self._connect(self._server.set(database=None))) as connection, connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        except pymysql.MySQLError as error:
            raise UsageError(
                "usage.scratch_refused", "The server lets this login make no database.", evidence={"error": str(error)}
            ) from error
        self._made.append(name)
        url = self._server.set(database=name)
        opened = self._connect(url)
        self._connections.append(opened)
        cursor = opened.cursor()
        # Tables come in any order; their keys are checked once they are all there.
        cursor.execute("SET SESSION foreign_key_checks = 0")

        def execute(sql: str, values: Sequence[object]) -> list[Any]:
            cursor.execute(sql, list(values) or None)
            return list(cursor.fetchall())

        def close() -> None:
            opened.commit()
            opened.close()

        marks = ("SAVEPOINT one_row", "RELEASE SAVEPOINT one_row", "ROLLBACK TO SAVEPOINT one_row")
        errors = (pymysql.MySQLError, OverflowError)
        return Scratch(url.render_as_string(hide_password=False), execute, errors, "%s", "`", marks, close)

    def open(self, scratch: Scratch) -> Engine:
        url = make_url(scratch.url).set(drivername="mysql+pymysql")
        arguments = {"charset": "utf8mb4", "local_infile": False, "init_command": _SETTLED}
        pool = sa.create_engine(url, connect_args=arguments, pool_pre_ping=True)
        self._pools.append(pool)
        engine = _Own(open_engine(pool))
        self._engines.append(engine)
        return engine

    def close(self) -> None:
        for engine in self._engines:
            engine.dispose()
        for pool in self._pools:
            pool.dispose()
        for connection in self._connections:
            if connection.open:
                connection.close()
        if self._made:
            with closing(self._connect(self._server.set(database=None))) as connection, connection.cursor() as cursor:
                for name in self._made:
                    cursor.execute(f"DROP DATABASE IF EXISTS {name}")

    def _connect(self, url: URL) -> Any:
        try:
            import pymysql
        except ImportError as error:
            raise UsageError("usage.extra_missing", "MySQL needs PyMySQL.", hint="Install guardrails-sql[mysql].") from error
        arguments = {"charset": "utf8mb4", "local_infile": False, "sql_mode": _MODES}
        pool = sa.create_engine(url.set(drivername="mysql+pymysql"), connect_args=arguments, poolclass=NullPool)
        try:
            lent = pool.raw_connection()
        except (pymysql.MySQLError, sa.exc.SQLAlchemyError) as error:
            raise UsageError(
                "usage.database_unreachable", "The database server does not answer.", evidence={"error": str(error)}
            ) from error
        opened = lent.driver_connection
        lent.detach()
        return opened


class _Own:
    """An engine whose catalog ends at its own database: others of the server are no part of a proof."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.dialect = engine.dialect
        self.name = engine.name
        self.execute, self.rehearse = engine.execute, engine.rehearse
        self.dispose = engine.dispose

    def catalog(self) -> Catalog:
        return _own(self._engine.catalog())


def _own(catalog: Catalog) -> Catalog:
    return replace(catalog, relations={k: r for k, r in catalog.relations.items() if r.schema == catalog.default_schema})


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"
