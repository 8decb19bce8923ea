"""What runs answers what was asked: generated SELECTs, original against regenerated, on the engines themselves.

Columns with their names and types, rows, and errors are equal, and next to nothing that an engine accepts is refused for fidelity.
`benchmarks/fidelity.py` does the same for as many as one likes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlglot import exp

from guardrails.errors import GuardrailsError
from guardrails.proving.grammar.shrink import shrink
from tests.support.grammar import FLAVOURS, query, seeded
from tests.support.oracles.answers import Answer, Answers, PostgresAnswers, SqliteAnswers
from tests.support.oracles.answers_duckdb import DuckdbAnswers
from tests.support.oracles.answers_mysql import MysqlAnswers
from tests.support.oracles.duckdb import fill_duckdb_grammar
from tests.support.oracles.fidelity import Side, difference_of
from tests.support.oracles.mysql_database import fill_mysql_grammar
from tests.support.oracles.postgres import fill as fill_postgres
from tests.support.oracles.sqlite import fill as fill_sqlite

_COUNTS = {"sqlite": 600, "postgres": 600, "mysql": 300, "duckdb": 300}


def _side(answers: Answers) -> Side:
    flavour = FLAVOURS[answers.dialect]
    return Side(answers, answers.catalog(), lambda choose: query(choose, flavour, is_ordered=True))


@pytest.fixture(scope="module")
def sqlite_side() -> Iterator[Side]:
    answers = SqliteAnswers(fill_sqlite)
    yield _side(answers)
    answers.close()


@pytest.fixture(scope="module")
def postgres_side(postgres_server: str) -> Iterator[Side]:
    answers = PostgresAnswers(postgres_server, fill_postgres)
    yield _side(answers)
    answers.close()


@pytest.fixture(scope="module")
def duckdb_side() -> Iterator[Side]:
    answers = DuckdbAnswers(fill_duckdb_grammar)
    yield _side(answers)
    answers.close()


@pytest.fixture(scope="module")
def mysql_side(mariadb_url: str) -> Iterator[Side]:
    answers = MysqlAnswers(mariadb_url, fill_mysql_grammar)
    yield _side(answers)
    answers.close()


@pytest.fixture(scope="module", params=["sqlite", "postgres", "mysql", "duckdb"])
def side(request: pytest.FixtureRequest) -> Side:
    found: Side = request.getfixturevalue(f"{request.param}_side")
    return found


@pytest.fixture(scope="module")
def accepted(side: Side) -> dict[int, str]:
    """The statements that the engine accepts, by seed."""
    made = {seed: side.make(seeded(seed)) for seed in range(_COUNTS[side.answers.dialect])}
    return {seed: sql for seed, sql in made.items() if side.answers.accepts(sql)}


def test_generated_statements_answer_the_same(side: Side, accepted: dict[int, str]) -> None:
    found = []
    for seed, sql in accepted.items():
        if side.difference(sql) is not None:
            short = shrink(
                side.make, seeded(seed), lambda made: side.answers.accepts(made) and side.difference(made) is not None
            )
            found.append(f"seed {seed}: {side.difference(short)}\n    {short}\n    {side.regenerated(short)[0]}")
    assert found == []


def test_little_is_refused(side: Side, accepted: dict[int, str]) -> None:
    refused = []
    for sql in accepted.values():
        try:
            side.regenerated(sql)
        except GuardrailsError as error:
            refused.append(f"{error.code} {error.message}: {sql}")
    assert len(accepted) > 0.95 * _COUNTS[side.answers.dialect]
    assert len(refused) <= 0.005 * _COUNTS[side.answers.dialect], refused


def test_a_difference_is_seen() -> None:
    ordered = exp.Select(order=exp.Order(expressions=[exp.Ordered(this=exp.Literal.number(1))]))
    asked = Answer((("a", "int"),), ((1,), (2,)))
    assert difference_of(asked, asked, ordered) is None
    for answered in (
        replace(asked, columns=(("b", "int"),)),
        replace(asked, columns=(("a", "text"),)),
        replace(asked, rows=((2,), (1,))),
        replace(asked, rows=((1,),)),
        Answer(error="22012"),
    ):
        assert difference_of(asked, answered, ordered) is not None
    assert difference_of(asked, replace(asked, rows=((2,), (1,))), exp.Select()) is None
    assert difference_of(Answer(error="22012"), Answer(error="22P02"), exp.Select()) is not None
