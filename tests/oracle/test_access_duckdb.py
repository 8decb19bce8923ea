"""DuckDB decides whether `Access` is right: its plans say what is read, its read-only transactions whether something is written.

Seeds are fixed; a failure prints the difference with its statement, shrunk. `-m fuzz` examines GUARDRAILS_FUZZ statements more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from guardrails.model import Access, ColumnRef
from tests.support.grammar import FLAVOURS
from tests.support.oracles import Examiner
from tests.support.oracles.duckdb import DuckdbOracle
from tests.support.oracles.searching import differences

_FLAVOUR = FLAVOURS["duckdb"]
_COUNT = 400
_FUZZ = int(os.environ.get("GUARDRAILS_FUZZ", "20000"))
_STATEMENTS = [
    "SELECT name AS region, region AS name FROM customers WHERE region = 'EU' ORDER BY name",
    "SELECT id + 1 AS next, next * 2 AS twice FROM customers WHERE twice > 3",
    "SELECT credit AS id FROM customers GROUP BY ALL HAVING max(id) > 1 ORDER BY id",
    "SELECT email AS name FROM customers WHERE name LIKE 'a%' ORDER BY name, upper(name)",
    "FROM customers",
    "FROM customers c SELECT c",
    "SELECT * EXCLUDE (email, profile) FROM customers ORDER BY ALL",
    "SELECT c FROM customers AS c WHERE c IS NOT NULL",
    "SELECT id FROM customers QUALIFY row_number() OVER (PARTITION BY region ORDER BY credit) = 1",
    "SELECT o.id FROM orders o JOIN customers USING (id, region) WHERE name > 'a'",
    "SELECT u.unnest FROM customers, unnest(scores) AS u WHERE credit > 1",
    "SELECT (SELECT max(amount) FROM orders WHERE customer_id = c.id) AS most FROM customers c WHERE most > 1",
    "SELECT x FROM (SELECT id AS x, email AS y FROM customers) WHERE y IS NULL",
    "INSERT INTO employees (id, name) SELECT id + 100, name FROM customers",
    "UPDATE orders SET amount = c.credit FROM customers c WHERE c.id = orders.customer_id AND c.email IS NOT NULL",
    "DELETE FROM orders USING customers c WHERE c.id = orders.customer_id AND c.credit > 5",
    "UPDATE employees SET name = 'x' WHERE id = 1 RETURNING salary",
    "SELECT * FROM customers c SEMI JOIN orders o ON o.customer_id = c.id AND o.amount > 5",
    "SELECT c.name FROM customers c ANTI JOIN orders o ON o.region = c.region",
]


@pytest.fixture(scope="module")
def examiner() -> Iterator[Examiner]:
    oracle = DuckdbOracle()
    yield Examiner(oracle)
    oracle.close()


def test_generated_statements(examiner: Examiner) -> None:
    assert differences(examiner, _FLAVOUR, range(_COUNT)) == []


@pytest.mark.parametrize("sql", _STATEMENTS)
def test_written_statements(examiner: Examiner, sql: str) -> None:
    found = examiner.examine(sql)
    assert found.is_accepted, sql
    assert found.verdict is not None, found.code
    assert found.verdict.findings == []


@pytest.mark.parametrize("sql", _FLAVOUR.hostile_statements)
def test_nothing_hostile_is_allowed(examiner: Examiner, sql: str) -> None:
    found = examiner.examine(sql)
    is_harmless = sql in ("FROM customers SELECT * EXCLUDE (name)", "SHOW TABLES", "DESCRIBE customers")
    assert found.is_allowed == is_harmless, sql
    assert found.verdict is None or found.verdict.findings == []


def _without_reads(access: Access) -> Access:
    return replace(access, reads=tuple(c for c in access.reads if c != ColumnRef("customers", "email")))


def test_the_oracle_sees_a_column_that_is_lacking(examiner: Examiner) -> None:
    found = examiner.with_doctor(_without_reads).examine("SELECT id FROM customers WHERE email > 'a'")
    assert found.verdict is not None
    assert found.verdict.lacking == {ColumnRef("customers", "email")}


def test_the_oracle_sees_a_write(examiner: Examiner) -> None:
    doctored = examiner.with_doctor(lambda access: replace(access, relations=()))
    found = doctored.examine("UPDATE employees SET name = 'x' WHERE id = 1")
    assert found.verdict is not None
    assert {f.question for f in found.verdict.findings} >= {"writes"}


@pytest.mark.fuzz
def test_many_generated_statements(examiner: Examiner) -> None:
    assert differences(examiner, _FLAVOUR, range(1_000_000, 1_000_000 + _FUZZ)) == []
