"""Databases of a million rows for `benchmarks.masking`: the same two tables on each engine, and a way to run a plan without a lock.

Values follow from the row's number, so that every engine holds the same rows and none has to be fetched.
"""

from __future__ import annotations

import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pymysql
from psycopg.sql import SQL, Identifier
from sqlalchemy.engine import make_url

from guardrails.engines.mysql_text import checked_lexemes, with_values
from guardrails.engines.postgres_values import bound
from guardrails.masking.sqlite import sqlite_functions
from guardrails.model import Plan
from guardrails.sql.duckdb_parser import LOCKED
from tests.support.mysql import connect, new_database

__all__ = ["ENGINES", "Bare", "open_filled"]

Bare = Callable[[Plan], Callable[[], int]]
"""Makes ready to run a plan's text on a plain connection of the engine's driver; what it gives runs it and returns how many rows came."""

_TABLES = (
    "CREATE TABLE people (id {int} PRIMARY KEY, account {int} NOT NULL, name {text} NOT NULL, email {text}, card {text}, born DATE,"
    " salary {int}, balance DECIMAL(12, 2), city {text} NOT NULL, joined DATE NOT NULL)",
    "CREATE TABLE orders (id {int} PRIMARY KEY, person_id {int} NOT NULL, placed DATE NOT NULL, amount DECIMAL(10, 2) NOT NULL)",
)
_INDEXES = (
    "CREATE INDEX people_account ON people (account)",
    "CREATE INDEX people_joined ON people (joined)",
    "CREATE INDEX orders_placed ON orders (placed)",
)
_PEOPLE = (
    "INSERT INTO people SELECT n, (n * 7919) % {rows}, {name}, {email}, {card}, {born}, 20000 + (n * 7919) % 100000,"
    " ((n * 104729) % 1000000) / 100.0, {city}, {joined} FROM {numbers}"
)
_ORDERS = "INSERT INTO orders SELECT n, 1 + (n * 611953) % {rows}, {joined}, ((n * 15485863) % 100000) / 100.0 FROM {numbers}"


def _standard(days: Callable[[str, str], str], text: Callable[[str], str], numbers: str) -> dict[str, str]:
    """How one engine writes the columns' values."""
    return {
        "name": f"'Person ' || {text('n')}",
        "email": f"'person' || {text('n')} || '@mail' || {text('n % 50')} || '.example.com'",
        "card": f"'4' || substr({text('100000000000000 + n * 7')}, 1, 15)",
        "born": days("1940-01-01", "(n * 37) % 25000"),
        "city": f"'city' || {text('n % 100')}",
        "joined": days("2016-01-01", "n * 3650 / {rows}"),
        "numbers": numbers,
    }


_NUMBERS = "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows}) SELECT n FROM s) AS s"
_SPELLED = {
    "postgres": _standard(
        lambda day, n: f"DATE '{day}' + CAST({n} AS integer)",
        lambda n: f"CAST({n} AS text)",
        "generate_series(CAST(1 AS bigint), {rows}) AS s(n)",
    ),
    "sqlite": _standard(lambda day, n: f"date('{day}', ({n}) || ' days')", lambda n: f"CAST({n} AS text)", _NUMBERS),
    "mysql": _standard(
        lambda day, n: f"DATE '{day}' + INTERVAL ({n}) DIV 1 DAY",
        lambda n: f"CAST({n} AS char)",
        "(SELECT seq AS n FROM seq_1_to_{rows}) s",
    ),
    "duckdb": _standard(
        lambda day, n: f"DATE '{day}' + CAST(floor({n}) AS integer)",
        lambda n: f"CAST({n} AS varchar)",
        "(SELECT range AS n FROM range(1, {rows} + 1)) s",
    ),
}
_TYPES = {
    "postgres": {"int": "bigint", "text": "text"},
    "sqlite": {"int": "INTEGER", "text": "TEXT"},
    "mysql": {"int": "BIGINT", "text": "VARCHAR(80)"},
    "duckdb": {"int": "BIGINT", "text": "VARCHAR"},
}
ENGINES = tuple(_TYPES)


def _statements(engine: str, rows: int) -> Sequence[str]:
    spelled = {name: text.format(rows=rows) for name, text in _SPELLED[engine].items()}
    inserts = [text.format(rows=rows, **spelled) for text in (_PEOPLE, _ORDERS)]
    return [*(table.format(**_TYPES[engine]) for table in _TABLES), *inserts, *_INDEXES]


@contextmanager
def open_filled(engine: str, rows: int, server: str) -> Iterator[tuple[str, Bare]]:
    """Makes and fills a database of its own; it is gone at the end.

    Args:
        engine: One of `ENGINES`.
        rows: Rows of each of the two tables.
        server: URL of the engine's server, which the embedded ones ignore.

    Yields:
        The database's URL, and how to run a plan on it.
    """
    with ExitStack() as stack:
        yield _OPENERS[engine](stack, rows, server)


def _postgres(stack: ExitStack, rows: int, server: str) -> tuple[str, Bare]:
    name = f"gr_masking_{uuid.uuid4().hex[:12]}"
    admin = stack.enter_context(closing(psycopg.connect(server, autocommit=True)))
    admin.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(name)))
    stack.callback(admin.execute, SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    connection = stack.enter_context(closing(psycopg.connect(url, autocommit=True)))
    for statement in (*_statements("postgres", rows), "VACUUM (ANALYZE, FREEZE)", "CHECKPOINT"):
        connection.execute(statement.encode())
    # As every plan of the guard's is: planned for its own values.
    connection.execute("SET plan_cache_mode = force_custom_plan")

    def ready(plan: Plan) -> Callable[[], int]:
        text, values = plan.sql.encode(), bound(plan.params)
        return lambda: len(psycopg.RawCursor(connection).execute(text, values).fetchall())

    return url, ready


def _sqlite(stack: ExitStack, rows: int, _server: str) -> tuple[str, Bare]:
    path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "masking.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as filling:
        for statement in ("BEGIN", *_statements("sqlite", rows), "COMMIT", "ANALYZE"):
            filling.execute(statement)
    connection = stack.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
    for name, (count, function) in sqlite_functions().items():
        connection.create_function(name, count, function, deterministic=True)

    def ready(plan: Plan) -> Callable[[], int]:
        values = {name: value.isoformat() if isinstance(value, date) else value for name, value in plan.params.items()}
        return lambda: len(connection.execute(plan.sql, values).fetchall())

    return f"sqlite:///{path}", ready


def _mysql(stack: ExitStack, rows: int, server: str) -> tuple[str, Bare]:
    url = stack.enter_context(new_database(server))
    connection = stack.enter_context(closing(connect(url)))
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = CONCAT(@@sql_mode, ',PIPES_AS_CONCAT')")
        for statement in _statements("mysql", rows):
            cursor.execute(statement)
        cursor.execute("ANALYZE TABLE people, orders")
        cursor.fetchall()

    def ready(plan: Plan) -> Callable[[], int]:
        text = with_values(checked_lexemes(plan), plan.params)
        return lambda: _asked(connection, text)

    return url, ready


def _asked(connection: pymysql.Connection[Any], text: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(text)
        return len(cursor.fetchall())


def _duckdb(stack: ExitStack, rows: int, _server: str) -> tuple[str, Bare]:
    path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "masking.duckdb"
    with closing(duckdb.connect(str(path))) as filling:
        for statement in _statements("duckdb", rows):
            filling.execute(statement)
    # With one thread, ratios are those of the work done; settings of one file's connections have to be alike.
    settings = {**LOCKED, "lock_configuration": "true", "threads": "1"}
    connection = stack.enter_context(closing(duckdb.connect(str(path), config=settings)))

    def ready(plan: Plan) -> Callable[[], int]:
        text, values = plan.sql, dict(plan.params)
        return lambda: len(connection.execute(text, values).fetchall())

    return f"duckdb:///{path}?threads=1", ready


_OPENERS = {"postgres": _postgres, "sqlite": _sqlite, "mysql": _mysql, "duckdb": _duckdb}
