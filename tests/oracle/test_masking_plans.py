"""What the engines plan for masked queries: other columns reach their indexes, and no plan orders rows by a protected column."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from guardrails.model import ColumnRef, Limits, Mask, Obligations, RowFilter
from guardrails.sql.index_use import index_use
from tests.support.mysql import connect
from tests.support.twins import Database, engine_of

_ROWS = 4_000
_DDL = (
    "CREATE TABLE people (id INTEGER PRIMARY KEY, account INTEGER NOT NULL, email VARCHAR(80), salary INTEGER,"
    " region VARCHAR(20) NOT NULL)",
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, person_id INTEGER NOT NULL, amount INTEGER NOT NULL)",
    "CREATE INDEX people_account ON people (account)",
    "CREATE INDEX orders_person ON orders (person_id)",
)
_PEOPLE = [(i, i * 7 % _ROWS, f"p{i}@example.com", i % 900, f"r{i // 5}") for i in range(1, _ROWS + 1)]
_ORDERS = [(i, 1 + i * 13 % _ROWS, i % 100) for i in range(1, _ROWS + 1)]
_LIMITS = Limits(rows=100_000, seconds=20)
_MASKED = Obligations(
    masks=(
        Mask(ColumnRef("people", "email"), "partial", (("first", 1),)),
        Mask(ColumnRef("people", "salary"), "bucket", (("size", 100),)),
    ),
    limits=_LIMITS,
)
_FULL = Obligations(masks=(Mask(ColumnRef("people", "email"), "full"),), limits=_LIMITS)
_SHAPES = {
    "key": "SELECT id, email, salary FROM people WHERE id = 7",
    "index": "SELECT id, email, salary FROM people WHERE account = 7",
    "join": "SELECT o.id, p.email FROM orders o JOIN people p ON p.id = o.person_id WHERE o.id < 5",
    "range": "SELECT count(*), max(salary) FROM people WHERE account BETWEEN 5 AND 25",
}
_EXPLAIN = {"postgres": "EXPLAIN (COSTS OFF)", "sqlite": "EXPLAIN QUERY PLAN", "mysql": "EXPLAIN", "duckdb": "EXPLAIN"}
# What the plan says where the condition reached the index, or in DuckDB the scan.
_SAYS = {
    "postgres": {
        "key": "Index Cond: (id = 7)",
        "index": "Index Cond: (account = 7)",
        "join": "Index Cond: (id = o.person_id)",
        "range": "Index Cond: ((account >= 5) AND (account <= 25))",
    },
    "sqlite": {
        "key": "SEARCH gr_row USING INTEGER PRIMARY KEY (rowid=?)",
        "index": "SEARCH gr_row USING INDEX people_account (account=?)",
        "join": "SEARCH gr_row USING INTEGER PRIMARY KEY (rowid=?)",
        "range": "SEARCH gr_row USING INDEX people_account (account>? AND account<?)",
    },
    "mysql": {
        "key": "gr_row const PRIMARY PRIMARY",
        "index": "gr_row ref people_account people_account",
        "join": "gr_row eq_ref PRIMARY PRIMARY",
        "range": "gr_row range people_account people_account",
    },
    "duckdb": {
        "key": "Filters: id = 7",
        "index": "Filters: account = 7",
        "join": "Filters: id < 5",
        "range": "(account >= 5) AND (account <= 25)",
    },
}


def _filled_sqlite(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        for statement in _DDL:
            connection.execute(statement)
        connection.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?)", _PEOPLE)
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", _ORDERS)
        connection.commit()
        connection.execute("ANALYZE")
        connection.commit()
    return f"sqlite:///{path}"


def _filled_duckdb(path: Path) -> str:
    with closing(duckdb.connect(str(path))) as connection:
        for statement in ("BEGIN", *_DDL):
            connection.execute(statement)
        connection.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?)", _PEOPLE)
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", _ORDERS)
        connection.execute("COMMIT")
    return f"duckdb:///{path}?threads=1"


def _filled_postgres(url: str, *more: str) -> str:
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in _DDL:
            cursor.execute(statement)
        cursor.executemany("INSERT INTO people VALUES (%s, %s, %s, %s, %s)", _PEOPLE)
        cursor.executemany("INSERT INTO orders VALUES (%s, %s, %s)", _ORDERS)
        for statement in (*more, "VACUUM ANALYZE"):
            cursor.execute(statement.encode())
    return url


def _filled_mysql(url: str) -> str:
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        for statement in _DDL:
            cursor.execute(statement)
        cursor.executemany("INSERT INTO people VALUES (%s, %s, %s, %s, %s)", _PEOPLE)
        cursor.executemany("INSERT INTO orders VALUES (%s, %s, %s)", _ORDERS)
        cursor.execute("ANALYZE TABLE people, orders")
    return url


@pytest.fixture(scope="module", params=["postgres", "sqlite", "mysql", "duckdb"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("plans")
    if request.param == "postgres":
        url = _filled_postgres(request.getfixturevalue("new_postgres")())
    elif request.param == "mysql":
        url = _filled_mysql(request.getfixturevalue("new_mariadb")())
    else:
        url = {"sqlite": _filled_sqlite, "duckdb": _filled_duckdb}[request.param](folder / "plans.db")
    database = Database(engine_of(url), url)
    yield database
    database.engine.dispose()


def _explained(database: Database, sql: str, obligations: Obligations) -> str:
    """The engine's plan for what the guard runs, under the guard's own settings, its blanks made one."""
    plan = database.plan(sql, obligations)
    answer = database.run(replace(plan, sql=f"{_EXPLAIN[database.dialect]} {plan.sql}", is_explain=True))
    assert isinstance(answer[1], tuple), answer
    return " ".join(" ".join(str(value) for value in row) for row in answer[1]).replace("│", " ")


@pytest.mark.parametrize("shape", _SHAPES)
def test_conditions_on_other_columns_reach_the_index(filled: Database, shape: str) -> None:
    says = _SAYS[filled.dialect][shape]
    plan = " ".join(_explained(filled, _SHAPES[shape], _MASKED).split())
    assert says.replace("gr_row ", "") in plan.replace("gr_row.", "").replace("gr_row ", ""), plan


def test_conditions_on_masked_columns_do_not(filled: Database) -> None:
    """The search is able to fail: a condition on a masked column reaches no index and no scan."""
    plan = " ".join(_explained(filled, "SELECT id FROM people WHERE salary = 700", _MASKED).split())
    assert "Index Cond" not in plan
    assert "SEARCH" not in plan
    assert " ref " not in plan
    assert "Filters: salary" not in plan


# PostgreSQL: what an index over a protected column may be used for

_COMPOSITE = "CREATE INDEX people_region ON people (region, email)"
_PARTIAL = "CREATE INDEX people_few ON people (email) WHERE account < 12"
_COVERING = "CREATE INDEX people_covering ON people (account) INCLUDE (email)"
_REVERSED = "UPDATE people SET email = 'x' || (10000 - id) || '@example.com'"
_BY_INDEX = (
    "SELECT id FROM people WHERE region = 'r77'",
    "SELECT id, email FROM people WHERE region = 'r77' LIMIT 1",
    "SELECT id FROM people WHERE account < 12",
    "SELECT id, row_number() OVER () FROM people WHERE region = 'r77'",
    "SELECT region FROM people",
    "SELECT o.id, p.id FROM orders o JOIN people p ON p.region = 'r' || o.amount WHERE o.id < 9",
)


@pytest.fixture(scope="module")
def ordered(new_postgres: Callable[[], str]) -> Iterator[tuple[Database, Database]]:
    """Twins of which the second holds the protected values the other way round, in indexes that others columns lead or share."""
    urls = [_filled_postgres(new_postgres(), *more, _COMPOSITE, _PARTIAL) for more in ((), (_REVERSED, "VACUUM FULL people"))]
    twins = tuple(Database(engine_of(url), url) for url in urls)
    yield twins[0], twins[1]
    for database in twins:
        database.engine.dispose()


@pytest.mark.parametrize("sql", _BY_INDEX)
def test_no_index_orders_rows_by_a_protected_column(ordered: tuple[Database, Database], sql: str) -> None:
    one, two = (database.guarded(sql, _FULL) for database in ordered)
    assert one[0] != "error"
    assert one == two
    assert "Index Scan using people" not in _explained(ordered[0], sql, _FULL).replace("Bitmap Index Scan", "")


def test_such_an_index_would_order_them(ordered: tuple[Database, Database]) -> None:
    """The twins differ where a plan scans the index in its order: the comparison is able to fail."""
    answers = []
    for database in ordered:
        with psycopg.connect(database.url) as connection:
            connection.execute("SET enable_bitmapscan = off; SET enable_seqscan = off")
            answers.append(connection.execute(database.plan(_BY_INDEX[0], _FULL).sql.encode()).fetchall())
    one, two = answers
    assert one != two
    assert sorted(one) == sorted(two)


def test_indexes_are_used_as_far_as_they_tell_nothing(new_postgres: Callable[[], str]) -> None:
    url = _filled_postgres(new_postgres())
    filters = (RowFilter("people", 'upper("EMAIL") < principal.x', (("x", "q"),)),)
    cases: list[tuple[str, Obligations, str]] = [
        ("", _FULL, "any"),
        ("CREATE INDEX one ON people (email)", _FULL, "fetching"),
        ("CREATE INDEX one ON people (lower(email))", _FULL, "fetching"),
        ("CREATE INDEX one ON people (email)", replace(_FULL, row_filters=filters), "bitmap"),
        (_COMPOSITE, _FULL, "bitmap"),
        (_PARTIAL, _FULL, "bitmap"),
        (_COVERING, _FULL, "bitmap"),
        ("CREATE INDEX one ON people ((region || email))", _FULL, "bitmap"),
        (_COMPOSITE, Obligations(masks=(Mask(ColumnRef("people", "salary"), "full"),)), "any"),
        (_COMPOSITE, Obligations(), "any"),
        ("CREATE TABLE kin () INHERITS (people); CREATE INDEX one ON kin (region, email)", _FULL, "bitmap"),
    ]
    for statement, obligations, wanted in cases:
        with psycopg.connect(url) as connection:
            connection.execute(statement.encode() or b"SELECT")
            connection.commit()
            engine = engine_of(url)
            try:
                asked = frozenset(
                    ColumnRef(f.relation, "email") for f in obligations.row_filters if "email" in f.predicate.lower()
                )
                assert index_use(obligations, engine.catalog(), asked, frozenset({"people"})) == wanted, statement
            finally:
                engine.dispose()
            connection.execute("DROP INDEX IF EXISTS one, people_region, people_few, people_covering; DROP TABLE IF EXISTS kin")


def test_an_index_alone_answers_where_it_holds_nothing_protected(new_postgres: Callable[[], str]) -> None:
    url = _filled_postgres(new_postgres())
    database = Database(engine_of(url), url)
    try:
        sql = "SELECT count(*) FROM people WHERE account BETWEEN 5 AND 25"
        assert "Index Only Scan using people_account" in _explained(database, sql, _FULL)
        plan: Any = replace(database.plan(sql, _FULL), index_use="fetching")
        answer = database.run(replace(plan, sql=f"EXPLAIN (COSTS OFF) {plan.sql}", is_explain=True))
        assert "Index Only Scan" not in str(answer)
    finally:
        database.engine.dispose()
