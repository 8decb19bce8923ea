"""EXPLAIN through the guard: the plan of the rewritten query, never a run, and nothing of what is masked or hidden."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guardrails import Guard, Policy, Principal
from guardrails.errors import GuardrailsError
from tests.support.schema import make_postgres_shop, make_sqlite_shop

_POLICY = """
version: 1
rules:
  - {id: read, effect: allow, actions: [select], relations: [customers, orders, employees]}
  - {id: change, effect: allow, actions: [delete], relations: [employees]}
columns:
  customers.ssn: {mask: full}
  customers.email: {mask: pseudonym}
rows:
  orders: "region = 'north'"
"""
_ANA = Principal("ana@example.com", frozenset({"support"}))


_MASKS = """
version: 1
rules:
  - {id: read, effect: allow, actions: [select], relations: [employees]}
columns:
  employees.salary: {mask: round, digits: -3}
  employees.name: {mask: full}
"""


@pytest.fixture
def policy() -> str:
    return _POLICY


@pytest.fixture(params=["sqlite", "postgres"])
def guard(request: pytest.FixtureRequest, tmp_path: Path, policy: str) -> Iterator[Guard]:
    if request.param == "sqlite":
        url = f"sqlite:///{make_sqlite_shop(tmp_path / 'shop.db')}"
    else:
        make: Callable[[], str] = request.getfixturevalue("new_postgres")
        url = make_postgres_shop(make())
    with Guard.open(Policy.from_text(policy), database=url, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as opened:
        yield opened


def _plan(guard: Guard, sql: str) -> str:
    with guard.session(principal=_ANA, agent="test-agent"):
        return str(guard.execute(sql).rows)


def _code(guard: Guard, sql: str) -> str:
    with guard.session(principal=_ANA, agent="test-agent"), pytest.raises(GuardrailsError) as caught:
        guard.execute(sql)
    return caught.value.code


def test_plan_of_a_query(guard: Guard) -> None:
    prefixes = {"sqlite": ["EXPLAIN QUERY PLAN", "explain"]}.get(
        guard.database.dialect,
        ["EXPLAIN", "EXPLAIN VERBOSE", "EXPLAIN (FORMAT JSON)", "explain (costs off, verbose)", "EXPLAIN ("],
    )
    for prefix in prefixes:
        query = "SELECT name FROM employees WHERE salary > :low" + (")" if prefix.endswith("(") else "")
        with guard.session(principal=_ANA, agent="test-agent"):
            result = guard.execute(f"{prefix} {query}", {"low": 5})
        assert result.rows
        assert result.decision.access is not None
        assert (result.decision.access.kind, result.decision.access.actions) == ("explain", ("select",))
    assert "employees" in _plan(guard, f"{prefixes[0]} SELECT name FROM employees")


def test_the_query_is_judged_as_ever(guard: Guard) -> None:
    assert _code(guard, "EXPLAIN SELECT body FROM tickets") == "policy.no_rule"
    assert _code(guard, "EXPLAIN SELECT pg_sleep(1), load_extension('x')") == "sql.function_not_allowed"
    assert _code(guard, "EXPLAIN DELETE FROM employees WHERE id = 1") == "sql.statement_unsupported"
    assert _code(guard, "EXPLAIN EXPLAIN SELECT 1") == "sql.statement_unsupported"
    assert _code(guard, "EXPLAIN ANALYZE SELECT name FROM employees") in ("sql.statement_unsupported", "sql.syntax")
    assert _code(guard, "EXPLAIN (ANALYZE) SELECT name FROM employees") in ("sql.statement_unsupported", "sql.syntax")


def test_no_key_of_a_mask_and_no_hidden_row_shows(guard: Guard) -> None:
    prefix = "EXPLAIN QUERY PLAN" if guard.database.dialect == "sqlite" else "EXPLAIN VERBOSE"
    assert _code(guard, f"{prefix} SELECT email FROM customers") == "mask.unsupported"
    assert _code(guard, f"{prefix} SELECT id FROM orders") == "mask.unsupported"


@pytest.mark.parametrize("policy", [_MASKS])
def test_no_statistics_of_a_masked_column_show(guard: Guard) -> None:
    prefix = "EXPLAIN QUERY PLAN" if guard.database.dialect == "sqlite" else "EXPLAIN"
    assert _code(guard, f"{prefix} SELECT salary, count(*) FROM employees GROUP BY salary") == "mask.unsupported"
    query = f"{prefix} SELECT name, count(*) FROM employees GROUP BY name"
    if guard.database.dialect == "sqlite":
        assert _plan(guard, query)
    else:
        # Its costs tell the table's pages, of which there are more the longer the masked values are.
        assert _code(guard, query) == "mask.unsupported"
