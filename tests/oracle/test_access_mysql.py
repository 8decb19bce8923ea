"""MariaDB decides whether `Access` is right: roles that each lack one right, and what a session shows after a statement.

Seeds are fixed; a failure prints the difference with its statement, shrunk. `-m fuzz` examines GUARDRAILS_FUZZ statements more: some
make a server of release 10.11 crash (a common table expression named like a table that stands before it), so not on one that others use.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from guardrails.model import Access, ColumnRef, RelationUse
from tests.support.access_corpus import MYSQL_STATEMENTS
from tests.support.grammar import FLAVOURS, query, seeded, shape
from tests.support.oracles import Examiner
from tests.support.oracles.mysql import MysqlOracle
from tests.support.oracles.searching import differences

_FLAVOUR = FLAVOURS["mysql"]
_COUNT = 200
_FUZZ = int(os.environ.get("GUARDRAILS_FUZZ", "20000"))


@pytest.fixture(scope="module")
def examiner(mariadb_url: str) -> Iterator[Examiner]:
    oracle = MysqlOracle(mariadb_url)
    try:
        yield Examiner(oracle)
    finally:
        oracle.close()


def test_generated_statements(examiner: Examiner) -> None:
    assert differences(examiner, _FLAVOUR, range(_COUNT)) == []


@pytest.mark.parametrize("sql", MYSQL_STATEMENTS)
def test_written_statements(examiner: Examiner, sql: str) -> None:
    found = examiner.examine(sql)
    assert found.is_accepted, sql
    assert found.verdict is not None, found.code
    assert found.verdict.findings == []


@pytest.mark.parametrize("sql", _FLAVOUR.hostile_statements)
def test_nothing_hostile_is_allowed(examiner: Examiner, sql: str) -> None:
    found = examiner.examine(sql)
    assert not found.is_allowed or (found.verdict is not None and not found.verdict.wrote)


def test_the_engine_accepts_what_is_generated(examiner: Examiner) -> None:
    made = [query(seeded(seed), _FLAVOUR) for seed in range(600)]
    assert sum(examiner.oracle.accepts(sql) for sql in made) > 0.95 * len(made)
    assert len({shape(sql) for sql in made}) > 500


def _without_read(access: Access) -> Access:
    return replace(access, reads=access.reads[1:])


def _without_relations(access: Access) -> Access:
    return replace(access, relations=())


def _with_a_relation(access: Access) -> Access:
    return replace(access, relations=(*access.relations, RelationUse("employees", "select")))


def _with_other_writes(access: Access) -> Access:
    return replace(access, writes=(ColumnRef("orders", "amount"),))


def _as_read(access: Access) -> Access:
    return replace(access, actions=("select",))


@pytest.mark.parametrize(
    ("question", "sql", "doctor"),
    [
        ("reads", "SELECT id FROM customers WHERE name = 'a'", _without_read),
        ("reads", "SELECT n FROM active_spending", _without_read),
        ("reads", "DELETE FROM orders WHERE amount > 1", _without_read),
        ("reads", "UPDATE orders o JOIN customers c ON c.id = o.customer_id SET o.status = c.name", _without_read),
        ("reads", "INSERT INTO employees (id, name) VALUES (1, 'x') ON DUPLICATE KEY UPDATE name = salary", lambda a: replace(a, reads=())),
        ("relations", "SELECT count(*) FROM customers", _without_relations),
        ("relations", "SELECT count(*) FROM customers", _with_a_relation),
        ("writes", "UPDATE orders SET status = 'x'", _without_relations),
        ("writes", "UPDATE orders SET status = 'x'", _with_other_writes),
        ("writes", "INSERT INTO orders (id, status) VALUES (900, 'x')", _with_other_writes),
        ("writes", "UPDATE orders SET status = 'x'", _as_read),
        ("wrote", "UPDATE orders SET status = 'x'", _as_read),
    ],
)  # fmt: skip
def test_a_wrong_access_is_seen(examiner: Examiner, question: str, sql: str, doctor: Callable[[Access], Access]) -> None:
    honest = examiner.examine(sql).verdict
    assert honest is not None
    assert honest.findings == []
    doctored = examiner.with_doctor(doctor).examine(sql).verdict
    assert doctored is not None
    assert question in {f.question for f in doctored.findings}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT @x := 5",
        "SELECT 1 INTO @y",
        "SET @z = 1",
        "SELECT GET_LOCK('probe', 0)",
        "SELECT LAST_INSERT_ID(7)",
        "SELECT NEXTVAL(probe_seq)",
        "SELECT bump()",
        "SELECT bump_text('a')",
        "SELECT b FROM bumping",
        "SELECT * FROM orders FOR UPDATE",
        "SELECT 1 /*! , @v := 5 */",
        "SET sql_mode = 'ANSI_QUOTES'",
        "CREATE TEMPORARY TABLE probe (a INT)",
        "DO GET_LOCK('probe', 0)",
    ],
)
def test_every_effect_is_seen(examiner: Examiner, sql: str) -> None:
    """None of these is allowed, so the oracle is asked about them under a harmless statement's access."""
    assert not examiner.examine(sql).is_allowed
    harmless = examiner.examine("SELECT id FROM customers").access
    assert harmless is not None
    verdict = examiner.oracle.verdict(sql, harmless, is_run=True)
    assert "wrote" in {f.question for f in verdict.findings}


@pytest.mark.fuzz
def test_many_generated_statements(examiner: Examiner) -> None:
    assert differences(examiner, _FLAVOUR, range(2_000_000, 2_000_000 + _FUZZ)) == []
