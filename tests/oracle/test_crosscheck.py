"""PostgreSQL's own parser (libpg_query) reads what the guard reads: statement kinds, relations and functions, in both texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from guardrails import Denied, Guard, Principal
from guardrails.errors import GuardrailsError, StatementError
from guardrails.model import Catalog, RelationUse, Statement
from guardrails.sql import parse, resolve
from guardrails.sql.crosscheck import cross_check, hold, outline
from guardrails.sql.parse import generate
from guardrails.sql.resolve import Resolved
from tests.support.access_corpus import POSTGRES_STATEMENTS
from tests.support.grammar import FLAVOURS, any_statement, seeded
from tests.support.oracles.postgres import catalog_of, fill

_COUNT = 1_500
pytest.importorskip("pgparse")


@pytest.fixture(scope="module")
def catalog(new_postgres: Callable[[], str]) -> Catalog:
    url = new_postgres()
    fill(url)
    with psycopg.connect(url, autocommit=True) as connection:
        return catalog_of(connection)


def _resolved(sql: str, catalog: Catalog) -> Resolved:
    return resolve(parse(Statement(sql, {}, "postgres")), catalog)


def test_it_agrees_about_generated_statements(catalog: Catalog) -> None:
    """A disagreement here is a fault of ours or a refusal too many; there is none."""
    checked = 0
    for seed in range(_COUNT):
        sql = any_statement(seeded(seed), FLAVOURS["postgres"])
        try:
            resolved = _resolved(sql, catalog)
        except GuardrailsError:
            continue
        cross_check(resolved, catalog)
        checked += resolved.access.kind in ("select", "insert", "update", "delete", "merge")
    assert checked > 0.7 * _COUNT


@pytest.mark.parametrize("sql", POSTGRES_STATEMENTS)
def test_it_agrees_about_written_statements(catalog: Catalog, sql: str) -> None:
    cross_check(_resolved(sql, catalog), catalog)


@pytest.mark.parametrize(
    "sql", ["SELECT id FROM customers WHERE name = :name AND scores[1:2] = :s", "UPDATE orders SET status = :s WHERE id = :id"]
)
def test_placeholders_by_name(catalog: Catalog, sql: str) -> None:
    params = {"name": "a", "s": "b", "id": 1}
    wanted = {name: value for name, value in params.items() if f":{name}" in sql}
    cross_check(resolve(parse(Statement(sql, wanted, "postgres")), catalog), catalog)


_PAIRS = [
    ("SELECT id FROM customers", "SELECT id FROM orders", "names other relations"),
    ("SELECT id FROM customers", "SELECT id FROM sales.customers", "names other relations"),
    ("SELECT id FROM customers", "SELECT id FROM customers, orders", "names other relations"),
    ("WITH orders AS (SELECT id FROM customers) SELECT id FROM orders", "SELECT id FROM orders", "names other relations"),
    ("SELECT upper(name) FROM customers", "SELECT lower(name) FROM customers", "calls other functions"),
    ("SELECT upper(name) FROM customers", "SELECT public.upper(name) FROM customers", "calls other functions"),
    ("SELECT id FROM customers", "DELETE FROM customers", "changes something else"),
    ("SELECT id FROM customers", "WITH d AS (DELETE FROM customers RETURNING id) SELECT id FROM d", "changes something else"),
    ("SELECT id FROM customers", "SELECT id FROM customers; SELECT 1", "is not one statement"),
    ("SELECT id FROM customers", "SELECT id FRM customers WHERE", "does not parse"),
]


@pytest.mark.parametrize(("ours", "theirs", "reason"), _PAIRS)
def test_a_difference_is_refused(catalog: Catalog, ours: str, theirs: str, reason: str) -> None:
    """Either text may be the other one: what the agent wrote was read wrongly, or what would run was written wrongly."""
    access = _resolved(ours, catalog).access
    for asked, answered in ((theirs, ours), (ours, theirs)):
        with pytest.raises(StatementError, match=reason) as error:
            hold(outline(asked), outline(answered), access, "public")
        assert error.value.code == "sql.parsers_disagree"


@pytest.mark.parametrize("terms", [100, 400, 700, 1_400])
def test_what_is_too_deep_is_refused(terms: int) -> None:
    """It answers or refuses; it never fails otherwise."""
    sql = f"SELECT {'1 + ' * terms}1"
    try:
        assert outline(sql).kinds == {"SelectStmt": 1}
    except StatementError as error:
        assert error.code == "sql.parsers_disagree"
        assert terms > 400


def test_a_wrong_access_is_refused(catalog: Catalog) -> None:
    resolved = _resolved("SELECT id FROM customers", catalog)
    wrong = replace(resolved, access=replace(resolved.access, relations=(RelationUse("orders", "select"),)))
    with pytest.raises(StatementError, match="names other relations"):
        cross_check(wrong, catalog)
    assert outline(generate(resolved.tree, resolved.dialect)).relations == {("public", "customers")}


def test_the_guard_asks_when_told_to(new_postgres: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = new_postgres()
    fill(url)
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nrules:\n  - {id: read, effect: allow, actions: [select], relations: [customers]}\n")
    with (
        Guard.open(policy, database=url, ledger=f"sqlite:///{tmp_path / 'audit.db'}", crosscheck=True) as guard,
        guard.session(principal=Principal("ana"), agent="a", purpose="p"),
    ):
        assert guard.execute("SELECT count(*) FROM customers").rows == ((10,),)
        monkeypatch.setattr("guardrails.sql.crosscheck.outline", lambda sql: outline(f"SELECT 1 FROM orders -- {sql}"))
        with pytest.raises(Denied) as denied:
            guard.execute("SELECT count(*) FROM customers")
        assert denied.value.code == "sql.parsers_disagree"
