"""The bulk runs of `benchmarks/noninterference.py` in small: nothing differs, and a planted leak does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from guardrails.model import DialectName, Plan
from tests.support.grammar import seeded
from tests.support.interference import SCHEMAS, Pair, open_pair

_COUNT = 50
_ENGINES: tuple[DialectName, ...] = ("postgres", "sqlite", "mysql", "duckdb")


def _server(engine: DialectName, request: pytest.FixtureRequest) -> str:
    fixtures = {"postgres": "postgres_server", "mysql": "mariadb_url"}
    return str(request.getfixturevalue(fixtures[engine])) if engine in fixtures else ""


@pytest.fixture(
    params=[(e, s, k) for e in _ENGINES for s in SCHEMAS for k in (False, True)], ids=lambda p: "-".join(map(str, p))
)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    engine, schema, is_keeping = request.param
    with open_pair(engine, SCHEMAS[schema], _server(engine, request), is_keeping=is_keeping) as made:
        yield made


def test_generated_statements_differ_in_nothing(pair: Pair) -> None:
    answered = 0
    for seed in range(_COUNT):
        outcome = pair.compare(pair.make(seeded(seed)), seed % 2)
        assert outcome.verdict != "different", f"{outcome.sql}\n{outcome.plan}\n{outcome.detail}"
        answered += outcome.verdict == "same"
    assert answered > _COUNT / 2


def _sorted_by_secret(plan: Plan) -> Plan:
    """Sorts what reads customers by a column that the plan's text does not mask there."""
    source = re.search(r'FROM ("\w+"\.)?"customers" AS "gr_row"', plan.sql)
    if source is None:
        return plan
    return replace(plan, sql=plan.sql.replace(source.group(), f'{source.group()} ORDER BY "gr_row"."credit"', 1))


@pytest.mark.parametrize("engine", ["postgres", "duckdb"])
def test_a_planted_leak_is_seen(engine: DialectName, request: pytest.FixtureRequest) -> None:
    with open_pair(engine, SCHEMAS["corpus"], _server(engine, request), is_keeping=False) as pair:
        assert pair.compare("SELECT id FROM customers", 0).verdict == "same"
        pair.doctor = _sorted_by_secret
        assert pair.compare("SELECT id FROM customers", 0).verdict == "different"


@pytest.mark.parametrize("engine", _ENGINES)
def test_twins_differ_in_what_is_protected(engine: DialectName, request: pytest.FixtureRequest) -> None:
    for is_keeping in (False, True):
        with open_pair(engine, SCHEMAS["grammar"], _server(engine, request), is_keeping=is_keeping) as pair:
            for column, public in (("email", "name"), ("credit", "joined")):
                one, two = (sorted(map(repr, store.stored("customers", [column]))) for store in pair.stores)
                assert one != two
                one, two = (sorted(map(repr, store.stored("customers", [public]))) for store in pair.stores)
                assert one == two


def test_changes_are_compared_and_undone(request: pytest.FixtureRequest) -> None:
    for engine in _ENGINES:
        with open_pair(engine, SCHEMAS["corpus"], _server(engine, request), is_keeping=False) as pair:
            before = [sorted(map(repr, store.stored("orders", ["id", "status"]))) for store in pair.stores]
            outcome = pair.compare("UPDATE orders SET status = 'x' WHERE id < 5", 0)
            assert (outcome.verdict, outcome.is_change) == ("same", True)
            assert [sorted(map(repr, store.stored("orders", ["id", "status"]))) for store in pair.stores] == before
