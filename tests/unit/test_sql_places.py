"""Where in a statement's text each relation and column is named, as the resolver found it, in every dialect that runs."""

from __future__ import annotations

from typing import get_args

import pytest

from guardrails.catalog import from_ddl
from guardrails.errors import CatalogError, StatementError
from guardrails.model import DialectName, Statement
from guardrails.sql import parse, resolve
from guardrails.sql.places import name_places
from tests.support.corpus import DDL, queries

SCHEMA = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT, region TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, total INTEGER, region TEXT);
CREATE VIEW contacts AS SELECT id, email AS mail FROM customers;
"""
EXECUTED = [name for name in get_args(DialectName) if name in ("sqlite", "postgres", "mysql", "duckdb")]


def named(sql: str, dialect: DialectName) -> list[tuple[str, str]]:
    """Each name of a text with what it stands for; what is assigned has an equals sign after it."""
    places = name_places(Statement(sql, {}, dialect), from_ddl(SCHEMA, dialect))
    meant = [p.relation or " ".join(map(str, p.columns)) + ("=" if p.is_assigned else "") for p in places]
    return [(sql[place.start : place.end], name) for place, name in zip(places, meant, strict=True)]


@pytest.mark.parametrize("dialect", EXECUTED)
@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 'é😀', email FROM customers", [("email", "customers.email"), ("customers", "customers")]),
        (
            "WITH x AS (SELECT c.email AS e FROM customers c) SELECT x.e FROM x ORDER BY e",
            [
                ("email", "customers.email"),
                ("customers", "customers"),
                ("e", "customers.email"),
                ("e", "customers.email"),
            ],
        ),
        (
            "SELECT o.* FROM orders o JOIN customers USING (id)",
            [
                ("*", "orders.customer_id orders.id orders.region orders.total"),
                ("orders", "orders"),
                ("customers", "customers"),
                ("id", "customers.id orders.id"),
            ],
        ),
        (
            "SELECT mail FROM contacts -- email\n WHERE mail LIKE 'email%'",
            [
                ("mail", "contacts.mail customers.email"),
                ("contacts", "contacts"),
                ("mail", "contacts.mail customers.email"),
            ],
        ),
        (
            "UPDATE orders SET region = 'x', total = total + 1 WHERE id IN (SELECT id FROM customers)",
            [
                ("orders", "orders"),
                ("region", "orders.region="),
                ("total", "orders.total="),
                ("total", "orders.total"),
                ("id", "orders.id"),
                ("id", "customers.id"),
                ("customers", "customers"),
            ],
        ),
        (
            "INSERT INTO orders (id, total) SELECT id, 3 FROM customers",
            [
                ("orders", "orders"),
                ("id", "orders.id="),
                ("total", "orders.total="),
                ("id", "customers.id"),
                ("customers", "customers"),
            ],
        ),
        ("EXPLAIN SELECT total FROM orders", [("total", "orders.total"), ("orders", "orders")]),
        ("CREATE TABLE fresh (id INTEGER)", []),
        ("DROP TABLE orders", [("orders", "orders")]),
    ],
)
def test_every_name_leads_to_what_it_stands_for(dialect: DialectName, sql: str, expected: list[tuple[str, str]]) -> None:
    assert named(sql, dialect) == expected


def test_changes_over_joins_are_placed_too() -> None:
    sql = "UPDATE orders o JOIN customers c ON c.id = o.customer_id SET o.total = 1 WHERE c.email = 'x'"
    assert ("total", "orders.total=") in named(sql, "mysql")
    assert ("email", "customers.email") in named(sql, "mysql")


def test_a_whole_row_stands_for_all_of_its_columns() -> None:
    assert named("SELECT c FROM customers c", "postgres")[0] == (
        "c",
        "customers.email customers.id customers.name customers.region",
    )


def test_names_that_mean_nothing_are_no_places() -> None:
    with pytest.raises(StatementError):
        named("SELECT nothing FROM customers", "sqlite")
    assert named("SHOW TABLES", "mysql") == []


@pytest.mark.parametrize("dialect", EXECUTED)
def test_no_name_of_a_corpus_is_left_out_or_made_up(dialect: DialectName) -> None:
    """What the places stand for is what the statement touches: nothing less, and nothing that it does not."""
    catalog = from_ddl(DDL, dialect)
    judged = 0
    for sql in queries(dialect):
        statement = Statement(sql, {}, dialect)
        try:
            access = resolve(parse(statement), catalog).access
        except (StatementError, CatalogError):
            continue
        places = name_places(statement, catalog)
        named = {relation for relation in (place.relation for place in places) if relation}
        columns = {column for place in places for column in place.columns}
        direct = {use.relation for use in access.relations if use.via is None}
        judged += 1
        assert named == direct, sql
        assert columns <= {*access.reads, *access.writes}, sql
        is_spelled_out = not sql.upper().startswith("TABLE")
        assert {c for c in access.reads if c.relation in direct} <= columns or not is_spelled_out, sql
    assert judged > 80
