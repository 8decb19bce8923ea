"""Databases for the utility figures: TPC's tables, or the analytical schema, on each engine."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import duckdb
import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy.engine import make_url

from tests.support import analytics
from tests.support.mysql import connect, own_database
from tests.support.tpc import SUITES, Table, queries, spellings, tables
from tests.support.twins import Database, engine_of
from tools.fetch_tpc import fetch

__all__ = ["ENGINES", "named_queries", "open_database"]

ENGINES = ("postgres", "sqlite", "mysql", "duckdb")
_MARIADB = os.environ.get("GUARDRAILS_TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/")


def named_queries(engine: str, corpus: str) -> list[tuple[str, Sequence[str]]]:
    """Returns (name, spellings) of every query of a corpus."""
    if corpus not in SUITES:
        return [(name, [sql]) for name, sql in analytics.queries(engine)]
    return [(f"{corpus} {n}", spellings(sql, engine)) for n, sql in enumerate(queries(fetch(), corpus), 1)]


@contextmanager
def open_database(engine: str, corpus: str, rows: int, server: str) -> Iterator[Database]:
    """Opens a database of its own with a corpus' tables; it is gone at the end.

    Args:
        engine: One of `ENGINES`.
        corpus: A suite of TPC's, or `analytics.CORPUS`.
        rows: Most rows of each of TPC's tables.
        server: URL of PostgreSQL's maintenance database.
    """
    made = tables(fetch(), corpus, rows) if corpus in SUITES else analytics.tables(engine)
    with ExitStack() as stack:
        url = _OPENERS[engine](stack, made, server)
        database = Database(engine_of(url), url)
        try:
            yield database
        finally:
            database.engine.dispose()


def _sqlite(stack: ExitStack, made: Sequence[Table], _server: str) -> str:
    path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "utility.db"
    with closing(sqlite3.connect(path)) as connection:
        for table in made:
            connection.execute(table.ddl())
            values = [tuple(_stored(v) for v in row) for row in table.rows]
            connection.executemany(f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(table.columns))})", values)
        connection.commit()
    return f"sqlite:///{path}"


def _stored(value: object) -> object:
    return (
        value
        if value is None or isinstance(value, (int, str, float))
        else str(value)
        if hasattr(value, "year")
        else float(str(value))
    )


def _duckdb(stack: ExitStack, made: Sequence[Table], _server: str) -> str:
    path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "utility.duckdb"
    with closing(duckdb.connect(str(path))) as connection:
        connection.execute("BEGIN")
        for table in made:
            connection.execute(table.ddl())
            if table.rows:
                insert = f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(table.columns))})"
                connection.executemany(insert, [list(row) for row in table.rows])
        connection.execute("COMMIT")
    return f"duckdb:///{path}?threads=1"


def _postgres(stack: ExitStack, made: Sequence[Table], server: str) -> str:
    name = f"gr_utility_{uuid.uuid4().hex[:12]}"
    admin = stack.enter_context(closing(psycopg.connect(server, autocommit=True)))
    admin.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(name)))
    stack.callback(admin.execute, SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        for table in made:
            cursor.execute(table.ddl().encode())
            with cursor.copy(f"COPY {table.name} FROM STDIN".encode()) as copy:
                for row in table.rows:
                    copy.write_row(row)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")
    return url


def _mysql(stack: ExitStack, made: Sequence[Table], _server: str) -> str:
    url = stack.enter_context(own_database(_MARIADB))
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        for table in made:
            cursor.execute(table.ddl())
            marks = ", ".join(["%s"] * len(table.columns))
            if table.rows:
                cursor.executemany(f"INSERT INTO {table.name} VALUES ({marks})", table.rows)
        connection.commit()
    return url


_OPENERS = {"sqlite": _sqlite, "duckdb": _duckdb, "postgres": _postgres, "mysql": _mysql}
