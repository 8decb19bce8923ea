"""The catalog of a DuckDB file: what exists, what derives from what, and a version that any change of it changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import duckdb
import pytest

from guardrails.catalog import duckdb_digest, from_ddl, read_duckdb, shadowing_macros

_DDL = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, "Mixed Case" DECIMAL(10, 2), tags VARCHAR[], ssn VARCHAR);
CREATE TABLE derived (a VARCHAR, "b c" VARCHAR, d VARCHAR AS (a || "b c"), e INTEGER AS (length(d)));
CREATE INDEX by_name ON customers (name);
CREATE SCHEMA hr; CREATE TABLE hr.people (id BIGINT UNIQUE);
CREATE VIEW names (number, called) AS SELECT id, name FROM customers;
CREATE SEQUENCE numbers; CREATE TYPE mood AS ENUM ('ok'); CREATE MACRO twice(x) AS x * 2; CREATE TEMP TABLE scratch (a INTEGER);
"""


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(duckdb.connect()) as connection:
        connection.execute(_DDL)
        yield connection


def test_what_exists(connection: duckdb.DuckDBPyConnection) -> None:
    catalog = read_duckdb(connection)
    assert (catalog.default_schema, set(catalog.relations)) == ("main", {"customers", "derived", "hr.people", "names"})
    customers = catalog.relations["customers"]
    assert [(c.name, c.type, c.is_nullable) for c in customers.columns] == [
        *(("id", "integer", False), ("name", "varchar", False), ("Mixed Case", "decimal(10,2)", True)),
        *(("tags", "varchar[]", True), ("ssn", "varchar", True)),
    ]
    assert (customers.primary_key, customers.indexed_columns) == (("id",), {"id", "name"})
    assert catalog.relations["hr.people"].indexed_columns == {"id"}
    view = catalog.relations["names"]
    assert (view.kind, view.column_names) == ("view", ("number", "called"))
    assert view.definition is not None
    assert view.definition.lower().startswith("select")


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "ddl"])
def test_generated_columns_tell_what_they_are_computed_from(connection: duckdb.DuckDBPyConnection, is_live: bool) -> None:
    tables = _DDL.split("CREATE INDEX")[0]
    catalog = read_duckdb(connection) if is_live else from_ddl(tables, "duckdb")
    found = {c.name: set(c.computed_from) for c in catalog.relations["derived"].columns if c.computed_from}
    assert found == {"d": {"a", "b c"}, "e": {"d"}}


def test_the_same_tables_from_ddl_have_the_same_names(connection: duckdb.DuckDBPyConnection) -> None:
    live, read = read_duckdb(connection), from_ddl(_DDL.split("CREATE SEQUENCE")[0], "duckdb")
    assert {k: r.column_names for k, r in live.relations.items()} == {k: r.column_names for k, r in read.relations.items()}


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE customers ADD COLUMN more INTEGER",
        "ALTER TABLE customers RENAME COLUMN ssn TO number",
        "ALTER TABLE customers ALTER COLUMN tags SET DATA TYPE VARCHAR",
        "CREATE TABLE other (a INTEGER)",
        "CREATE UNIQUE INDEX one_name ON customers (name)",
        "CREATE TABLE other (a INTEGER, CHECK (a > 0))",
        "DROP VIEW names",
        "CREATE OR REPLACE VIEW names AS SELECT id AS number, ssn AS called FROM customers",
        "DROP INDEX by_name",
        "CREATE SCHEMA s; CREATE TABLE s.customers (id INTEGER)",
        "CREATE TYPE other AS ENUM ('x')",
    ],
)
def test_every_change_has_another_version(connection: duckdb.DuckDBPyConnection, change: str) -> None:
    before = duckdb_digest(connection)
    assert duckdb_digest(connection) == before
    connection.execute("INSERT INTO customers (id, name) VALUES (1, 'x')")
    assert duckdb_digest(connection) == before
    connection.execute("DELETE FROM customers; DROP INDEX IF EXISTS by_name; CREATE INDEX by_name ON customers (name)")
    connection.execute(change) if "ALTER" not in change else connection.execute(f"DROP INDEX by_name; {change}")
    assert duckdb_digest(connection) != before


def test_macros_in_the_place_of_built_in_functions(connection: duckdb.DuckDBPyConnection) -> None:
    assert shadowing_macros(connection) == []
    connection.execute('CREATE MACRO Upper(x) AS x; CREATE MACRO "+"(a, b) AS a; CREATE MACRO range(x) AS TABLE SELECT x')
    assert shadowing_macros(connection) == ["+", "Upper", "range"]
