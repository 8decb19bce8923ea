"""Order as a channel: twins whose protected values order, fill and skew them in different ways answer in the same order.

Each test names a leak that was there: an index on (region, born) gives the rows of a region by their date of birth.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import psycopg
import pytest

from guardrails import Guard, Policy, Principal
from guardrails.errors import GuardrailsError
from tests.support.mysql import connect
from tests.support.twins import engine_of

_COUNT = 3_000
_DDL = (
    "CREATE TABLE people (id INTEGER PRIMARY KEY, name VARCHAR(60), region VARCHAR(20), born VARCHAR(20), note VARCHAR(200))",
    "CREATE INDEX people_place ON people (region, born)",
    "CREATE INDEX people_born ON people (born)",
)
_COLUMNS = {"people.born": {"mask": "full"}, "people.note": {"mask": "null"}}


def _rows(secret: int) -> Iterator[tuple[object, ...]]:
    public, private = random.Random(1), random.Random(secret)
    for number in range(1, _COUNT + 1):
        # One twin's rows lie in the order of the index already, the other one's do not, and are longer.
        born = "1990-01-01" if secret == 1 else f"19{private.randrange(100):02}-01-{private.randrange(10, 28)}"
        yield number, f"n{public.randrange(500)}", public.choice("abcdefgh"), born, None if secret == 1 else "x" * 10


def _postgres(url: str, secret: int) -> str:
    with psycopg.connect(url) as connection:
        for statement in _DDL:
            connection.execute(statement.encode())
        connection.execute("ALTER TABLE people SET (autovacuum_enabled = off)")
        with connection.cursor().copy("COPY people FROM STDIN") as copy:
            for row in _rows(secret):
                copy.write_row(row)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    return url


def _mysql(url: str, secret: int) -> str:
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        for statement in _DDL:
            cursor.execute(statement)
        cursor.execute("ALTER TABLE people STATS_PERSISTENT = 1 STATS_AUTO_RECALC = 0")
        cursor.executemany("INSERT INTO people VALUES (%s, %s, %s, %s, %s)", list(_rows(secret)))
        cursor.execute("ANALYZE TABLE people")
    return url


def _sqlite(path: Path, secret: int) -> str:
    with closing(sqlite3.connect(path)) as connection:
        for statement in _DDL:
            connection.execute(statement)
        connection.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?)", _rows(secret))
        connection.commit()
        connection.execute("ANALYZE")
        connection.commit()
    return f"sqlite:///{path}"


def _duckdb(path: Path, secret: int) -> str:
    with closing(duckdb.connect(str(path))) as connection:
        for statement in _DDL:
            connection.execute(statement)
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?)", [list(r) for r in _rows(secret)])
        connection.execute("COMMIT")
    return f"duckdb:///{path}?threads=1"


@pytest.fixture(params=["postgres", "sqlite", "mysql", "duckdb"])
def guards(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Guard, Guard]]:
    """Twins behind guards that mask `born` and `note` and permit everything else."""
    urls = []
    for secret in (1, 2):
        # The same name in another folder, as DuckDB names the database in its plans.
        (tmp_path / str(secret)).mkdir()
        if request.param == "postgres":
            new_postgres: Callable[[], str] = request.getfixturevalue("new_postgres")
            urls.append(_postgres(new_postgres(), secret))
        elif request.param == "mysql":
            new_mariadb: Callable[[], str] = request.getfixturevalue("new_mariadb_now")
            urls.append(_mysql(new_mariadb(), secret))
        elif request.param == "sqlite":
            urls.append(_sqlite(tmp_path / str(secret) / "twin.db", secret))
        else:
            urls.append(_duckdb(tmp_path / str(secret) / "twin.duckdb", secret))
    rule = {"id": "all", "effect": "allow", "actions": ["read", "write"], "relations": ["people"], "where": "optional"}
    policy = Policy(rules=[rule], columns=_COLUMNS, limits={"rows": _COUNT, "rows_changed": _COUNT})
    # MariaDB's sessions decide between equals alike, which they do by addresses otherwise.
    one, two = (Guard.open(policy, database=engine_of(url), ledger="sqlite:///:memory:") for url in urls)
    yield one, two
    one.close()
    two.close()


def _answer(guard: Guard, sql: str) -> tuple[object, ...]:
    with guard.session(principal=Principal("ana")):
        try:
            result = guard.execute(sql)
        except GuardrailsError as error:
            return ("error", error.code, error.message, error.hint)
    return result.columns, result.rows, result.rows_changed, result.is_truncated, result.findings


_ORDERED = """
SELECT id FROM people WHERE region = 'b'
SELECT id FROM people ORDER BY region LIMIT 30
SELECT id FROM people WHERE region >= 'f' ORDER BY region
SELECT id, row_number() OVER (PARTITION BY region ORDER BY born) AS n FROM people
SELECT id, first_value(id) OVER (PARTITION BY region ORDER BY born) AS n FROM people
SELECT DISTINCT region, born FROM people
SELECT born, region, count(*) AS n FROM people GROUP BY born, region
SELECT id FROM people LIMIT 7
SELECT id FROM people WHERE born = '1990-01-01'
SELECT p.id, q.id AS other FROM people p JOIN people q ON q.region = p.region AND q.born = p.born WHERE p.id < 5
SELECT name FROM people UNION SELECT born FROM people
"""


def test_indexes_over_masked_columns_order_nothing(guards: tuple[Guard, Guard]) -> None:
    for sql in _ORDERED.strip().splitlines():
        one, two = (_answer(guard, sql) for guard in guards)
        assert one[0] != "error", (sql, one)
        assert one == two, sql


def test_changes_neither_choose_nor_return_rows_in_that_order(guards: tuple[Guard, Guard]) -> None:
    dialect = guards[0].database.dialect
    returning = "" if dialect == "mysql" else " RETURNING id"
    limited = ["UPDATE people SET name = 'z' WHERE region = 'c' LIMIT 3", "DELETE FROM people WHERE region = 'd' LIMIT 5"]
    changes = [
        f"UPDATE people SET name = 'x' WHERE region = 'a'{returning}",
        "DELETE FROM people WHERE region = 'b' RETURNING id",
        *(limited if dialect == "mysql" else []),
        "SELECT id, name FROM people WHERE region IN ('c', 'd') ORDER BY id",
    ]
    for sql in changes:
        one, two = (_answer(guard, sql) for guard in guards)
        assert one == two, sql
        is_refused = dialect == "mysql" and sql.startswith("DELETE")
        assert one[:2] == ("error", "mask.unsupported") if is_refused else one[0] != "error", (sql, one)


def test_plans_tell_no_sizes(guards: tuple[Guard, Guard]) -> None:
    for sql in (
        "EXPLAIN SELECT id FROM people WHERE region = 'a'",
        "EXPLAIN SELECT region, count(*) AS n FROM people GROUP BY 1",
    ):
        one, two = (_answer(guard, sql) for guard in guards)
        assert one == two, sql
        assert (one[0] == "error") == (guards[0].database.dialect in ("postgres", "mysql"))


def test_a_table_without_row_numbers_is_stored_by_its_key(tmp_path: Path) -> None:
    path = tmp_path / "keyed.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE people (born TEXT, id INTEGER, PRIMARY KEY (born, id)) WITHOUT ROWID")
        connection.execute("INSERT INTO people VALUES ('2', 1), ('1', 2)")
        connection.commit()
    rule = {"id": "all", "effect": "allow", "actions": ["read"], "relations": ["people"]}
    policy = Policy(rules=[rule], columns={"people.born": {"mask": "full"}})
    with Guard.open(policy, database=f"sqlite:///{path}", ledger="sqlite:///:memory:") as guard:
        assert _answer(guard, "SELECT id FROM people")[:2] == ("error", "mask.unsupported")


@pytest.mark.parametrize("filtered", ["born > principal.since", "region = principal.since"])
def test_an_index_that_a_row_filter_uses_orders_nothing(filtered: str, new_postgres: Callable[[], str]) -> None:
    """The filter is about real values; the index that answers it returns the rows in their order."""
    rule = {"id": "all", "effect": "allow", "actions": ["read"], "relations": ["people"]}
    policy = Policy(rules=[rule], columns=_COLUMNS, rows={"people": filtered})
    ana = Principal("ana", attributes={"since": "1999-01-20" if "born" in filtered else "b"})
    guard = Guard.open(policy, database=_postgres(new_postgres(), 2), ledger="sqlite:///:memory:")
    with guard, guard.session(principal=ana):
        rows = guard.execute("SELECT id FROM people").rows
    assert rows
    assert list(rows) == sorted(rows)


def test_the_number_of_values_orders_no_groups(new_postgres: Callable[[], str]) -> None:
    """The masks keep the same of both twins' values, of which one has a few and the other one thousands."""
    answers = []
    rule = {"id": "all", "effect": "allow", "actions": ["read"], "relations": ["people"]}
    policy = Policy(rules=[rule], columns={"people.note": {"mask": "partial", "first": 1}})
    for values in (3, 100_000):
        url, source = new_postgres(), random.Random(4)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_DDL[0].encode())
            with connection.cursor().copy("COPY people FROM STDIN") as copy:
                for number in range(1, _COUNT + 1):
                    note = f"{'abc'[number % 3]}{source.randrange(values):09}"
                    copy.write_row((number, f"n{number % 500}", "abcdefgh"[number % 7], None, note))
            connection.execute("ANALYZE")
        with Guard.open(policy, database=url, ledger="sqlite:///:memory:") as guard:
            answers.append([_answer(guard, sql) for sql in _GROUPED.strip().splitlines()])
    assert all(answer[0] != "error" for answer in answers[0])
    assert answers[0] == answers[1]


_GROUPED = """
SELECT note, name, count(*) FROM people GROUP BY note, name
SELECT DISTINCT note, region FROM people
SELECT upper(n) AS u, region, count(*) FROM (SELECT note AS n, region FROM people) s GROUP BY 1, region
SELECT note, name FROM people UNION SELECT name, region FROM people
SELECT note, name FROM people EXCEPT SELECT name, region FROM people
SELECT p.id FROM people p WHERE p.note IN (SELECT q.note FROM people q WHERE q.region = 'a')
"""
