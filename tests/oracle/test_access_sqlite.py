"""SQLite decides whether `Access` is right: its authorizer, column by column, and what a statement changes when it runs.

Seeds are fixed; a failure prints the difference with its statement, shrunk. `-m fuzz` examines GUARDRAILS_FUZZ statements more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardrails.model import Access, ColumnRef, RelationUse
from tests.support.access_corpus import SQLITE_STATEMENTS
from tests.support.grammar import FLAVOURS, any_statement, query, seeded, shape
from tests.support.oracles import Examiner
from tests.support.oracles.searching import differences
from tests.support.oracles.sqlite import SqliteOracle

_FLAVOUR = FLAVOURS["sqlite"]
_PARTS, _COUNT = 2, 600
_FUZZ = int(os.environ.get("GUARDRAILS_FUZZ", "20000"))


@pytest.fixture(scope="module")
def examiner() -> Iterator[Examiner]:
    oracle = SqliteOracle()
    yield Examiner(oracle)
    oracle.close()


@pytest.mark.parametrize("part", range(_PARTS))
def test_generated_statements(examiner: Examiner, part: int) -> None:
    assert differences(examiner, _FLAVOUR, range(part * _COUNT, (part + 1) * _COUNT)) == []


def test_shrunk_statements(examiner: Examiner) -> None:
    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        found = examiner.examine(any_statement(lambda n: data.draw(st.integers(0, n - 1)), _FLAVOUR))
        assert found.verdict is None or found.verdict.findings == [], found.sql

    check()


@pytest.mark.parametrize("sql", SQLITE_STATEMENTS)
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


def _with_a_write(access: Access) -> Access:
    return replace(access, relations=(*access.relations, RelationUse("employees", "delete")))


def _with_a_column_written(access: Access) -> Access:
    return replace(access, writes=(*access.writes, ColumnRef("orders", "amount")))


@pytest.mark.parametrize(
    ("question", "sql", "doctor"),
    [
        ("reads", "SELECT id FROM customers WHERE name = 'a'", _without_read),
        ("reads", "DELETE FROM orders WHERE amount > 1", _without_read),
        ("reads", "SELECT n FROM active_spending", _without_read),
        ("relations", "SELECT count(*) FROM customers", _without_relations),
        ("functions", "SELECT upper(name) FROM customers", lambda a: replace(a, functions=())),
        ("writes", "SELECT id FROM customers", _with_a_write),
        ("writes", "UPDATE orders SET status = 'x'", _without_relations),
        ("writes", "UPDATE orders SET status = 'x'", _with_a_column_written),
        ("wrote", "UPDATE orders SET status = 'x'", lambda a: replace(a, actions=("select",))),
        ("wrote", "DELETE FROM employees", lambda a: replace(a, actions=("select",))),
    ],
)
def test_a_wrong_access_is_seen(examiner: Examiner, question: str, sql: str, doctor: Callable[[Access], Access]) -> None:
    honest = examiner.examine(sql).verdict
    assert honest is not None
    assert honest.findings == []
    doctored = examiner.with_doctor(doctor).examine(sql).verdict
    assert doctored is not None
    assert question in {f.question for f in doctored.findings}


@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(_PARTS))
def test_many_generated_statements(examiner: Examiner, part: int) -> None:
    first = 2_000_000 + part * _FUZZ
    assert differences(examiner, _FLAVOUR, range(first, first + _FUZZ // _PARTS)) == []
