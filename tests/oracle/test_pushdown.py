"""Conditions on columns without a mask use their index through the masking subquery, as each engine's own plan says."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import psycopg
import pytest

from guardrails.engines.mysql_text import checked_lexemes, with_values
from guardrails.masking import sqlite_functions
from guardrails.model import ColumnRef, Mask, Obligations, Plan
from guardrails.sql.duckdb_parser import LOCKED
from tests.support.installed import explained
from tests.support.mysql import connect
from tests.support.twins import LIMITS, Database, engine_of

MASKED = Obligations(
    tuple(Mask(ColumnRef("people", c), k, o) for c, k, o in (("email", "pseudonym", ()), ("ssn", "partial", (("last", 4),)))),
    limits=LIMITS,
)
TABLES = (
    "CREATE TABLE people (id INTEGER PRIMARY KEY, region VARCHAR(20), email VARCHAR(80), ssn VARCHAR(20))",
    "CREATE INDEX people_region ON people (region)",
)
COUNT = 3000
ROWS = [(i, f"r{i % 1000}", f"user{i}@example.com", f"{i:09}") for i in range(1, COUNT + 1)]


def _sqlite(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        for statement in (*TABLES, "ANALYZE"):
            connection.execute(statement)
        connection.executemany("INSERT INTO people VALUES (?, ?, ?, ?)", ROWS)
        connection.commit()
    return f"sqlite:///{path}"


def _duckdb(path: Path) -> str:
    with closing(duckdb.connect(str(path))) as connection:
        for statement in TABLES:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO people SELECT i, 'r' || i % 1000, 'user' || i || '@example.com', i::VARCHAR FROM range(1, 200000) t(i)"
        )
    return f"duckdb:///{path}?threads=1"


def _mysql(url: str) -> str:
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        for statement in TABLES:
            cursor.execute(statement)
        cursor.executemany("INSERT INTO people VALUES (%s, %s, %s, %s)", ROWS)
        cursor.execute("ANALYZE TABLE people")
    return url


def _postgres(url: str) -> str:
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in TABLES:
            cursor.execute(statement.encode())
        cursor.executemany("INSERT INTO people VALUES (%s, %s, %s, %s)", ROWS)
        cursor.execute("ANALYZE people")
    return url


def _explained(database: Database, plan: Plan) -> str:
    values = dict(plan.params)
    if database.dialect == "postgres":
        return explained(database.url, plan)
    if database.dialect == "sqlite":
        with closing(sqlite3.connect(database.url.removeprefix("sqlite:///"))) as connection:
            for name, (arguments, function) in sqlite_functions().items():
                connection.create_function(name, arguments, function, deterministic=True)  # type: ignore[arg-type]
            return "\n".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {plan.sql}", values))
    if database.dialect == "duckdb":
        settings = {**LOCKED, "lock_configuration": "true", "threads": "1"}
        with closing(duckdb.connect(database.url.removeprefix("duckdb:///").partition("?")[0], config=settings)) as asking:
            drawn = "\n".join(str(row[1]) for row in asking.execute(f"EXPLAIN {plan.sql}", values).fetchall())
            return " ".join(drawn.replace("│", " ").split())
    with closing(connect(database.url)) as plain, plain.cursor() as cursor:
        cursor.execute(f"EXPLAIN {with_values(checked_lexemes(plan), values)}")
        return "\n".join(str(row) for row in cursor.fetchall())


@pytest.fixture(params=["sqlite", "postgres", "mysql", "duckdb"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    def url() -> str:
        if request.param == "sqlite":
            return _sqlite(tmp_path / "p.db")
        if request.param == "duckdb":
            return _duckdb(tmp_path / "p.duckdb")
        make: Callable[[], str] = request.getfixturevalue("new_mariadb_now" if request.param == "mysql" else "new_postgres")
        return _mysql(make()) if request.param == "mysql" else _postgres(make())

    made = url()
    database = Database(engine_of(made), made)
    yield database
    database.engine.dispose()


SERVES = {
    "sqlite": ("USING INTEGER PRIMARY KEY", "USING INDEX people_region"),
    "postgres": ("Index Scan using people_pkey", "people_region"),
    "mysql": ("PRIMARY", "people_region"),
    # What DuckDB's plan tells is that the condition alone reaches the scan.
    "duckdb": ("Filters: id = 7 ", "Filters: region = 'r7' "),
}
SCANS = {"sqlite": "SCAN", "postgres": "Seq Scan", "mysql": "'ALL'", "duckdb": "Filters: CASE WHEN "}


def test_a_condition_reaches_the_index(database: Database) -> None:
    by_key, by_region = (
        _explained(database, database.plan(f"SELECT id, email, ssn FROM people WHERE {where}", MASKED))
        for where in ("id = 7", "region = 'r7'")
    )
    for found, expected in zip((by_key, by_region), SERVES[database.dialect], strict=True):
        assert expected in found, found
        assert SCANS[database.dialect] not in found, found


def test_a_condition_on_a_mask_reads_every_row(database: Database) -> None:
    found = _explained(database, database.plan("SELECT id FROM people WHERE email = 'tok_x'", MASKED))
    assert SCANS[database.dialect] in found, found
