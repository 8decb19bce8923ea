"""The dry run: what happens to every name of a statement, and that it tells nobody more than they may know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from guardrails import Guard, Principal
from guardrails.console.dry_run import Asked, DryRun, dry_run
from guardrails.console.known import known_catalog
from guardrails.model import Context
from guardrails.policy import visible
from tests.support.dry_runs import ANA, LEA, POLICY, open_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    with open_shop(tmp_path_factory.mktemp("shop")) as guard:
        yield guard


def tried(shop: Guard, sql: str, principal: Principal = ANA, *, is_whole: bool = True, **more: str) -> DryRun:
    found = dry_run(shop, Asked(sql, principal, **more), is_whole=is_whole)  # type: ignore[arg-type]
    assert "".join(piece.text for piece in found.pieces) == sql
    return found


def fates(found: DryRun) -> dict[str, str]:
    columns = {str(column): coloured.fate for column, coloured in found.colours.columns.items()}
    return {relation.relation: relation.fate for relation in found.colours.relations} | columns


def words(found: DryRun) -> list[tuple[str, str]]:
    return [(piece.text, piece.fate) for piece in found.pieces if piece.fate]


def test_each_column_has_the_colour_of_what_happens_to_it(shop: Guard) -> None:
    found = tried(shop, "SELECT name, email FROM customers WHERE region = 'north' ORDER BY email")
    assert found.decision.effect == "allow"
    assert fates(found) == {
        "customers": "read",
        "customers.name": "read",
        "customers.email": "masked",
        "customers.region": "read",
    }
    assert words(found) == [
        ("name", "read"),
        ("email", "masked"),
        ("customers", "read"),
        ("region", "read"),
        ("email", "masked"),
    ]
    column = found.colours.relations[0].columns[0]
    assert (column.mask, column.uses) == ("pseudonym", ("returned", "ordered"))
    assert found.fields["sql"] == found.decision.sql


def test_what_approval_lifts_is_lifted(shop: Guard) -> None:
    found = tried(shop, "SELECT email, ssn FROM customers")
    assert found.decision.effect == "approve"
    assert fates(found) == {"customers": "read", "customers.email": "masked", "customers.ssn": "lifted"}


def test_only_what_is_refused_is_coloured_so(shop: Guard) -> None:
    found = tried(shop, "SELECT c.name, c.email, c.created_at, e.name FROM customers c JOIN employees e ON e.id = c.id")
    assert found.decision.effect == "deny"
    assert fates(found) == {
        "customers": "read",
        "customers.id": "read",
        "customers.name": "read",
        "customers.email": "masked",
        "customers.created_at": "denied",
        "employees": "denied",
        "employees.id": "denied",
        "employees.name": "denied",
    }


def test_changes_are_written_and_row_filters_show(shop: Guard) -> None:
    found = tried(shop, "UPDATE orders SET status = 'paid' WHERE id = 3")
    assert fates(found) == {"orders": "written", "orders.status": "written", "orders.id": "read"}
    assert found.colours.relations[0].filters == ("region = principal.region",)
    assert tried(shop, "UPDATE orders SET status = 'paid' WHERE id = 3", LEA).colours.relations[0].filters == ()
    denied = tried(shop, "UPDATE orders SET status = 'paid', amount = 1 WHERE id = 3")
    assert words(denied) == [("orders", "written"), ("status", "written"), ("amount", "denied"), ("id", "read")]


def test_a_view_shows_what_stands_behind_it_to_who_may_see_the_policy(shop: Guard) -> None:
    sql = "SELECT address FROM customer_emails"
    found = tried(shop, sql)
    assert fates(found)["customer_emails"] == "denied"
    assert found.colours.relations[1].via == ("customer_emails",)
    assert tried(shop, "SELECT name FROM customer_names", is_whole=False).colours.relations[0].relation == "customer_names"
    assert len(tried(shop, "SELECT name FROM customer_names", is_whole=False).colours.relations) == 1
    assert len(tried(shop, "SELECT name FROM customer_names").colours.relations) == 2


def test_the_principal_decides(shop: Guard) -> None:
    finance = Principal("fay@example.com", frozenset({"finance"}))
    sql = "SELECT avg(salary) FROM employees"
    assert tried(shop, sql, finance, purpose="support").decision.effect == "deny"
    paid = tried(shop, sql, finance, purpose="payroll")
    assert paid.decision.effect == "allow"
    assert paid.colours.relations[0].columns[0].exception == "aggregates over 5 rows or more are of real values"
    assert tried(shop, sql, finance, purpose="fun").decision.code == "policy.purpose_unknown"
    assert "payroll" not in repr(tried(shop, sql, finance, purpose="payrol", is_whole=False))


def test_it_runs_and_records_nothing(shop: Guard) -> None:
    size = shop.ledger.size
    for sql in ("UPDATE orders SET status = 'x' WHERE id = 1", "SELECT ssn FROM customers", "DROP TABLE orders", "nonsense ("):
        tried(shop, sql)
        tried(shop, sql, is_whole=False)
    assert shop.ledger.size == size
    assert shop.pending() == []


PROBES = [
    "SELECT name FROM employees",
    "SELECT salary FROM employees WHERE id = 1",
    "SELECT nothing FROM employees",
    "SELECT c.name FROM customers c JOIN employees e ON e.id = c.id",
    "SELECT c.name, e.nothing FROM customers c, employees e",
    "SELECT (SELECT max(salary) FROM employees) FROM customers",
    "SELECT address FROM customer_emails",
    "SELECT created_at FROM customers",
    "SELECT name FROM customers WHERE created_at > '2020'",
    "SELECT name FROM customers ORDER BY created_at",
    "INSERT INTO employees VALUES (1, 'x', 2)",
    "INSERT INTO ticket_log (body) SELECT name FROM employees",
    "UPDATE employees SET salary = 1 WHERE id = 1",
    "UPDATE orders SET status = (SELECT name FROM employees) WHERE id = 1",
    "DELETE FROM employees WHERE id = 1",
    "DROP TABLE employees",
    "CREATE VIEW v AS SELECT name FROM employees",
    "SELECT name FROM main.employees",
    "WITH e AS (SELECT name FROM employees) SELECT name FROM e",
    "SELECT body FROM tickets UNION SELECT name FROM customers",
    "PRAGMA table_info(employees)",
    "SELECT name FROM sqlite_master",
    "EXPLAIN SELECT name FROM employees",
]


WITHOUT = "DROP TABLE employees; DROP VIEW customer_emails; DROP TABLE tickets; ALTER TABLE customers DROP COLUMN created_at;"


def test_who_asks_as_themselves_learns_nothing_of_what_is_hidden(shop: Guard, tmp_path: Path) -> None:
    """The same answers, character by character, as where the hidden relations and columns do not exist at all."""
    visible_policy = "\n".join(
        line for line in POLICY.splitlines() if "employees" not in line and "customers.created_at" not in line
    )
    with open_shop(tmp_path, policy=visible_policy, script=WITHOUT) as bare:
        for sql in PROBES:
            here, there = (tried(guard, sql, is_whole=False) for guard in (shop, bare))
            assert here.fields == there.fields, sql
            assert replace(here, decision=there.decision) == there, sql


@pytest.mark.parametrize("principal", [ANA, LEA, Principal("fay@example.com", frozenset({"finance"}))])
def test_what_is_known_is_what_the_guard_shows_of_the_schema_and_what_may_be_changed(shop: Guard, principal: Principal) -> None:
    policy, context = shop.bound_policy(), Context(purpose="payroll")
    whole = known_catalog(policy, principal, context)
    shown = visible(policy, principal, context)
    changed = {"orders", "ticket_log"} if "support" in principal.groups else set()
    assert whole.relations.keys() == shown.keys() | changed
    for key, columns in shown.items():
        assert set(columns) <= set(whole.relations[key].column_names)
    for sql in PROBES:
        named = known_catalog(policy, principal, context, text=sql)
        assert all(whole.relations[key] == relation for key, relation in named.relations.items())
        assert {key for key in whole.relations if key in sql} <= named.relations.keys()


def test_who_asks_as_themselves_sees_no_predicate_and_no_text_that_would_run(shop: Guard) -> None:
    found = tried(shop, "SELECT id FROM orders", is_whole=False)
    assert found.decision.effect == "allow"
    assert found.fields["sql"] is None
    assert "principal.region" not in repr(found)
    assert {"type": "rows", "relation": "orders"} in found.fields["obligations"]
    assert words(found) == [("id", "read"), ("orders", "read")]


def test_what_may_only_be_written_is_known(shop: Guard) -> None:
    found = tried(shop, "INSERT INTO ticket_log (body) VALUES ('x')", is_whole=False)
    assert found.decision.effect == "allow"
    assert words(found) == [("ticket_log", "written"), ("body", "written")]
