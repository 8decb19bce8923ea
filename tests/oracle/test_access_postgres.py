"""PostgreSQL decides whether `Access` is right: dependencies, rights, plans, and what a transaction leaves behind.

Seeds are fixed; a failure prints the difference with its statement, shrunk. `-m fuzz` examines GUARDRAILS_FUZZ statements more, and
prints how often `Access` lists a column that the engine does not read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardrails.model import Access, ColumnRef, RelationUse
from tests.support.access_corpus import POSTGRES_STATEMENTS
from tests.support.grammar import FLAVOURS, any_statement, query, seeded, shape
from tests.support.oracles import Examiner
from tests.support.oracles.postgres import PostgresOracle
from tests.support.oracles.searching import differences

_FLAVOUR = FLAVOURS["postgres"]
_PARTS, _COUNT = 2, 400
_FUZZ = int(os.environ.get("GUARDRAILS_FUZZ", "20000"))


@pytest.fixture(scope="module")
def examiner(postgres_server: str) -> Iterator[Examiner]:
    oracle = PostgresOracle.create(postgres_server)
    yield Examiner(oracle)
    oracle.close()


@pytest.mark.parametrize("part", range(_PARTS))
def test_generated_statements(examiner: Examiner, part: int) -> None:
    assert differences(examiner, _FLAVOUR, range(part * _COUNT, (part + 1) * _COUNT)) == []


def test_shrunk_statements(examiner: Examiner) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        found = examiner.examine(any_statement(lambda n: data.draw(st.integers(0, n - 1)), _FLAVOUR))
        assert found.verdict is None or found.verdict.findings == [], found.sql

    check()


@pytest.mark.parametrize("sql", POSTGRES_STATEMENTS)
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


def _without_writes(access: Access) -> Access:
    return replace(access, writes=(ColumnRef("orders", "amount"),))


def _as_read(access: Access) -> Access:
    return replace(access, actions=("select",))


@pytest.mark.parametrize(
    ("question", "sql", "doctor"),
    [
        ("reads", "SELECT id FROM customers WHERE name = 'a'", _without_read),
        ("reads", "SELECT n FROM active_spending", _without_read),
        ("rights", "SELECT id FROM customers WHERE name = 'a'", _without_read),
        ("rights", "SELECT c FROM customers c", _without_read),
        ("rights", "DELETE FROM orders WHERE amount > 1", _without_read),
        ("rights", "UPDATE orders SET status = 'x'", _without_writes),
        ("rights", "SELECT count(*) FROM customers", _without_relations),
        ("relations", "SELECT count(*) FROM customers", _with_a_relation),
        ("relations", "SELECT count(*) FROM customers", _without_relations),
        ("writes", "UPDATE orders SET status = 'x'", _without_relations),
        ("wrote", "UPDATE orders SET status = 'x'", _as_read),
        ("wrote", "WITH d AS (DELETE FROM orders RETURNING id) SELECT id FROM d", _as_read),
    ],
)
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
        "SELECT nextval('probe_seq')",
        "SELECT pg_advisory_lock(4)",
        "SELECT set_config('guardrails.probe', 'x', false)",
        "SELECT pg_notify('probe', 'x')",
        "SELECT lo_create(0)",
        "SELECT * FROM customers FOR UPDATE",
        "SELECT bump()",
    ],
)
def test_every_effect_is_seen(examiner: Examiner, sql: str) -> None:
    """None of these is understood, so the oracle is asked about them under a harmless statement's access."""
    assert not examiner.examine(sql).is_allowed
    harmless = examiner.examine("SELECT id FROM customers").access
    assert harmless is not None
    verdict = examiner.oracle.verdict(sql, harmless, is_run=True)
    assert "wrote" in {f.question for f in verdict.findings}


@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(_PARTS))
def test_many_generated_statements(examiner: Examiner, part: int) -> None:
    first = 2_000_000 + part * _FUZZ
    assert differences(examiner, _FLAVOUR, range(first, first + _FUZZ // _PARTS)) == []
    listed = unread = 0
    for seed in range(first, first + _FUZZ // 10):
        found = examiner.examine(any_statement(seeded(seed), _FLAVOUR))
        if found.verdict is not None and found.verdict.unread is not None and found.access is not None:
            listed, unread = listed + len(found.access.reads), unread + len(found.verdict.unread)
    print(f"columns listed and not read: {unread} of {listed}")
