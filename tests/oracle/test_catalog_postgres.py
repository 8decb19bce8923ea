"""The PostgreSQL catalog against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from guardrails.catalog import postgres_digest, read_postgres
from guardrails.model import Catalog
from tests.support.schema import POSTGRES_SHOP


@pytest.fixture
def connection(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection whose changes are rolled back."""
    with psycopg.connect(postgres_url) as connection:
        yield connection
        connection.rollback()


def _catalog(connection: psycopg.Connection[Any], ddl: str) -> Catalog:
    connection.execute(ddl)
    return read_postgres(connection)


def test_shop_is_read_with_views_keys_and_indexes(connection: psycopg.Connection[Any]) -> None:
    catalog = _catalog(connection, POSTGRES_SHOP)
    assert catalog.default_schema == "public"
    customers = catalog.relations["customers"]
    assert [(c.name, c.type, c.is_nullable) for c in customers.columns][:3] == [
        *(("id", "integer", False), ("name", "text", False), ("email", "text", True)),
    ]
    assert customers.primary_key == ("id",)
    assert customers.indexed_columns == {"id", "email"}
    assert catalog.relations["orders"].columns[2].type == "numeric(10,2)"
    view = catalog.relations["customer_emails"]
    assert view.kind == "view"
    assert view.column_names == ("id", "address")
    assert "public.customers" in (view.definition or "")
    assert not (view.definition or "").endswith(";")


def test_other_schemas_are_qualified_and_the_systems_own_are_absent(connection: psycopg.Connection[Any]) -> None:
    catalog = _catalog(connection, 'CREATE SCHEMA "S 1"; CREATE TABLE "S 1"."T" ("Col" int); CREATE TEMP TABLE scratch (a int)')
    assert "S 1.T" in catalog.relations
    assert not [k for k, r in catalog.relations.items() if r.schema.startswith(("pg_", "information_schema"))]
    assert "scratch" not in {r.name for r in catalog.relations.values()}


def test_every_kind_of_relation_is_told_apart(connection: psycopg.Connection[Any]) -> None:
    catalog = _catalog(
        connection,
        "CREATE TABLE base (a int, b int) PARTITION BY RANGE (a); CREATE TABLE part PARTITION OF base FOR VALUES FROM (1) TO (9);"
        "CREATE TABLE parent (a int); CREATE TABLE child () INHERITS (parent);"
        "CREATE MATERIALIZED VIEW mat AS SELECT a FROM base; CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
        "CREATE FOREIGN TABLE far (a int) SERVER s; CREATE SEQUENCE seq; CREATE TYPE composite AS (a int)",
    )
    # Other tests keep ledgers in schemas of their own beside.
    kinds = {k: r.kind for k, r in catalog.relations.items() if r.schema == catalog.default_schema}
    tables = dict.fromkeys(("base", "part", "parent", "child"), "table")
    assert kinds == {**tables, "mat": "materialized_view", "far": "foreign_table"}
    assert catalog.relations["mat"].definition


def test_partitions_and_children_know_their_parents(connection: psycopg.Connection[Any]) -> None:
    catalog = _catalog(
        connection,
        "CREATE SCHEMA s; CREATE TABLE base (a int, b int, c int) PARTITION BY RANGE (a, (b + 1));"
        "CREATE TABLE s.mid PARTITION OF base FOR VALUES FROM (1, 1) TO (9, 9) PARTITION BY LIST (c);"
        "CREATE TABLE leaf PARTITION OF s.mid DEFAULT; CREATE TABLE other (c int, b int, a int);"
        "ALTER TABLE s.mid ATTACH PARTITION other FOR VALUES IN (1); ALTER TABLE s.mid DETACH PARTITION other;"
        "CREATE TABLE two (x int); CREATE TABLE mixed () INHERITS (other, two); CREATE TABLE three () INHERITS (two);"
        "ALTER TABLE three NO INHERIT two; CREATE TEMP TABLE gone () INHERITS (two)",
    )
    parents = {k: r.parents for k, r in catalog.relations.items() if r.parents}
    assert parents == {"s.mid": ("base",), "leaf": ("s.mid",), "mixed": ("other", "two")}
    stored = {k: r.stored_by for k, r in catalog.relations.items() if r.stored_by}
    assert stored == {"base": ("a", "b"), "s.mid": ("a", "b", "c"), "leaf": ("a", "b", "c")}


def test_generated_columns_know_what_they_are_computed_from(connection: psycopg.Connection[Any]) -> None:
    catalog = _catalog(
        connection,
        "CREATE TABLE t (a text, b text, g text GENERATED ALWAYS AS (lower(a) || 'b') STORED,"
        " h text GENERATED ALWAYS AS ('a') STORED, d text DEFAULT lower('x')); CREATE TABLE u () INHERITS (t)",
    )
    for key in ("t", "u"):
        computed = {c.name: c.computed_from for c in catalog.relations[key].columns}
        assert computed == {"a": (), "b": (), "g": ("a",), "h": (), "d": ()}


@pytest.mark.parametrize(
    ("index", "columns"),
    [
        ("(a) INCLUDE (b)", {"a", "b"}),
        ("((lower(c))) WHERE d > 1", {"c", "d"}),
        ("((t.*::text))", {"a", "b", "c", "d"}),
    ],
)
def test_every_column_of_an_index_counts(connection: psycopg.Connection[Any], index: str, columns: set[str]) -> None:
    connection.execute("CREATE FUNCTION whole(anyelement) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT ''x'''")
    index = index.replace("t.*::text", "whole(t.*)")
    catalog = _catalog(connection, f"CREATE TABLE t (a int, b int, c text, d int); CREATE INDEX ON t {index}")
    assert catalog.relations["t"].indexed_columns == columns


def test_the_key_has_its_own_order(connection: psycopg.Connection[Any]) -> None:
    catalog = _catalog(connection, "CREATE TABLE t (a int, b int, c int, PRIMARY KEY (c, a) INCLUDE (b))")
    assert catalog.relations["t"].primary_key == ("c", "a")


def test_the_digest_follows_the_schema_and_not_the_data(connection: psycopg.Connection[Any]) -> None:
    seen = {postgres_digest(connection)}
    for statement in [
        *(
            "CREATE TABLE public.t (a int)",
            "ALTER TABLE public.t ADD COLUMN b text",
            "ALTER TABLE public.t ALTER COLUMN a TYPE bigint",
        ),
        *(
            "CREATE INDEX i ON public.t (a)",
            "CREATE VIEW public.v AS SELECT a FROM public.t",
            "ALTER TABLE public.t RENAME COLUMN b TO c",
        ),
        *(
            "CREATE OR REPLACE VIEW public.v AS SELECT a + 1 AS a FROM public.t",
            "CREATE SCHEMA other",
            "ALTER VIEW public.v SET SCHEMA other",
        ),
        *("ALTER TABLE public.t ALTER COLUMN a SET NOT NULL", "ALTER TABLE public.t DROP COLUMN c"),
        *("ALTER TABLE public.t ALTER COLUMN a SET DEFAULT 1", "ALTER TABLE public.t ALTER COLUMN a SET DEFAULT 2"),
    ]:
        connection.execute(statement)
        digest = postgres_digest(connection)
        assert (digest in seen) == (statement == "CREATE SCHEMA other"), statement
        seen.add(digest)
    for statement in [
        "INSERT INTO public.t VALUES (1)",
        "ANALYZE public.t",
        "TRUNCATE public.t",
        "CREATE TEMP TABLE scratch (a int)",
    ]:
        connection.execute(statement)
        assert postgres_digest(connection) == digest, statement


def test_the_digest_follows_constraints(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE TABLE p (id int PRIMARY KEY, other int UNIQUE); CREATE TABLE t (a int, b int, word text)")
    connection.execute("CREATE INDEX plain ON t (a)")
    seen = {postgres_digest(connection)}
    for statement in (
        "ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES p (id)",
        "ALTER TABLE t DROP CONSTRAINT k, ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES p (id) ON DELETE CASCADE",
        "ALTER TABLE t DROP CONSTRAINT k, ADD CONSTRAINT k FOREIGN KEY (b) REFERENCES p (other)",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID",
        "ALTER TABLE t VALIDATE CONSTRAINT c",
        "CREATE UNIQUE INDEX u ON t (a)",
        "CREATE UNIQUE INDEX v ON t (lower(word)) WHERE b > 0",
        "ALTER TABLE t ADD CONSTRAINT x EXCLUDE USING btree (b WITH =)",
    ):
        connection.execute(statement.encode())
        digest = postgres_digest(connection)
        assert digest not in seen, statement
        seen.add(digest)
