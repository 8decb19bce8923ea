"""The SQLite catalog against real databases."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrails.catalog import from_ddl, read_sqlite, sqlite_digest
from guardrails.model import Catalog
from tests.support.schema import SQLITE_SHOP


def _catalog(ddl: str) -> Catalog:
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(ddl)
        return read_sqlite(connection)
    finally:
        connection.close()


def test_shop_is_read_with_views_keys_and_indexes() -> None:
    catalog = _catalog(SQLITE_SHOP)
    assert catalog.default_schema == "main"
    assert set(catalog.relations) == {
        *("customers", "orders", "employees", "tickets", "ticket_log", "customer_names", "customer_emails"),
    }
    customers = catalog.relations["customers"]
    assert customers.column_names == ("id", "name", "email", "ssn", "region", "created_at")
    assert customers.primary_key == ("id",)
    assert customers.indexed_columns == {"id", "email"}
    assert [c.is_nullable for c in customers.columns] == [False, False, True, True, False, False]
    view = catalog.relations["customer_emails"]
    assert view.kind == "view"
    assert view.column_names == ("id", "address")
    assert view.definition == "SELECT id, email AS address FROM customers WHERE region <> 'hidden'"


def test_the_same_schema_from_ddl_has_the_same_names() -> None:
    live, read = _catalog(SQLITE_SHOP), from_ddl(SQLITE_SHOP.split("CREATE TRIGGER")[0], "sqlite")
    assert {k: r.column_names for k, r in live.relations.items()} == {k: r.column_names for k, r in read.relations.items()}


def test_columns_in_expressions_and_conditions_of_an_index_count() -> None:
    catalog = _catalog('CREATE TABLE t (a, "B c", d, e); CREATE INDEX i ON t (lower("b C")) WHERE d > 3')
    assert catalog.relations["t"].indexed_columns == {"B c", "d"}


def test_generated_columns_are_shown() -> None:
    catalog = _catalog("CREATE TABLE t (a, v GENERATED ALWAYS AS (a) VIRTUAL, s AS (a) STORED)")
    assert catalog.relations["t"].column_names == ("a", "v", "s")


def test_virtual_tables_are_shown_without_hidden_columns_and_shadows() -> None:
    catalog = _catalog("CREATE VIRTUAL TABLE notes USING fts5 (body)")
    assert {k: (r.kind, r.column_names) for k, r in catalog.relations.items()} == {"notes": ("foreign_table", ("body",))}


def test_sqlites_own_tables_are_not_shown() -> None:
    catalog = _catalog("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t DEFAULT VALUES; ANALYZE")
    assert set(catalog.relations) == {"t"}


@pytest.mark.parametrize(
    ("ddl", "definition"),
    [
        ('CREATE VIEW "as" AS SELECT 1 AS x', "SELECT 1 AS x"),
        ('CREATE VIEW v ("AS", b) as/* AS */ SELECT 1, 2', "/* AS */ SELECT 1, 2"),
        ("CREATE VIEW IF NOT EXISTS main.v /* as */ AS SELECT 'as' AS c -- as", "SELECT 'as' AS c -- as"),
        ("CREATE VIEW [as ( ] AS SELECT 1 AS c", "SELECT 1 AS c"),
        ("CREATE VIEW v(c) AS WITH w AS (SELECT 1 AS c) SELECT c FROM w", "WITH w AS (SELECT 1 AS c) SELECT c FROM w"),
    ],
)
def test_the_definition_of_a_view_is_its_select(ddl: str, definition: str) -> None:
    (view,) = _catalog(ddl).relations.values()
    assert view.definition == definition


@given(
    st.lists(
        st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1), min_size=1, max_size=4
    )
)
def test_any_name_is_read_as_declared(names: list[str]) -> None:
    columns: dict[str, str] = {}
    for name in names:
        columns.setdefault("".join(c.lower() if c.isascii() else c for c in name), name)
    table = '"T' + names[0].replace('"', '""') + '"'
    quoted = [f'"{name}"' for name in (n.replace('"', '""') for n in columns.values())]
    ddl = f"CREATE TABLE {table} ({', '.join(quoted)}); CREATE VIEW v ({', '.join(quoted)}) AS SELECT * FROM {table}"
    catalog = _catalog(ddl)
    assert set(catalog.relations) == {"T" + names[0], "v"}
    assert catalog.relations["T" + names[0]].column_names == tuple(columns.values())
    assert catalog.relations["v"].definition == f"SELECT * FROM {table}"


def test_the_digest_follows_the_schema_and_not_the_data(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    seen = {sqlite_digest(connection)}
    for statement in [
        *("CREATE TABLE t (a)", "CREATE INDEX i ON t (a)", "ALTER TABLE t ADD COLUMN b", "CREATE VIEW v AS SELECT a FROM t"),
        *("DROP VIEW v", "CREATE VIEW v AS SELECT b AS a FROM t", "ALTER TABLE t RENAME TO u"),
    ]:
        connection.execute(statement)
        digest = sqlite_digest(connection)
        if statement != "DROP VIEW v":
            assert digest not in seen
        seen.add(digest)
    for statement in ["INSERT INTO u VALUES (1, 2)", "ANALYZE", "VACUUM", "DELETE FROM u"]:
        connection.execute(statement)
        assert sqlite_digest(connection) == digest
    connection.close()
