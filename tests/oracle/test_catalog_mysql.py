"""The MySQL catalog against a real MariaDB server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pymysql
import pytest

from guardrails.catalog import mysql_digests, mysql_version, read_mysql, stored_functions
from guardrails.model import Catalog
from tests.support.mysql import MYSQL_SHOP, connect, new_database


@pytest.fixture
def url(mariadb_url: str) -> Iterator[str]:
    with new_database(mariadb_url) as url:
        yield url


@pytest.fixture
def connection(url: str) -> Iterator[pymysql.Connection[Any]]:
    with closing(connect(url)) as connection:
        yield connection


def _run(connection: pymysql.Connection[Any], *statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _catalog(connection: pymysql.Connection[Any], *statements: str) -> Catalog:
    _run(connection, *statements)
    return read_mysql(connection, mysql_digests(connection))


def _own(connection: pymysql.Connection[Any]) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT DATABASE()")
        ((name,),) = cursor.fetchall()
        return str(name)


def test_shop_is_read_with_views_keys_and_indexes(connection: pymysql.Connection[Any]) -> None:
    catalog = _catalog(connection, *MYSQL_SHOP)
    assert catalog.default_schema == _own(connection)
    customers = catalog.relations["customers"]
    assert [(c.name, c.type, c.is_nullable) for c in customers.columns][:3] == [
        *(("id", "int(11)", False), ("name", "varchar(80)", False), ("email", "varchar(80)", True)),
    ]
    assert customers.primary_key == ("id",)
    assert customers.indexed_columns == {"id", "email"}
    assert dict(customers.indexes) == {"PRIMARY": {"id"}, "email": {"email"}}
    assert catalog.relations["orders"].columns[2].type == "decimal(10,2)"
    assert dict(catalog.relations["orders"].indexes)["orders_customer"] == {"customer_id"}
    view = catalog.relations["customer_emails"]
    assert (view.kind, view.column_names) == ("view", ("id", "address"))
    assert f"`{_own(connection)}`.`customers`" in (view.definition or "")


def test_other_databases_are_qualified_and_the_systems_own_are_absent(
    connection: pymysql.Connection[Any], mariadb_url: str
) -> None:
    with new_database(mariadb_url) as other:
        name = other.rpartition("/")[2]
        catalog = _catalog(connection, f"CREATE TABLE {name}.`T 1` (`Col x` INT)")
        assert catalog.relations[f"{name}.T 1"].column_names == ("Col x",)
    system = {"mysql", "information_schema", "performance_schema", "sys"}
    assert not [k for k, r in catalog.relations.items() if r.schema in system]


def test_every_kind_of_relation_is_told_apart(connection: pymysql.Connection[Any]) -> None:
    catalog = _catalog(
        connection,
        "CREATE TABLE base (a INT PRIMARY KEY, b INT)",
        "CREATE TABLE isam (a INT PRIMARY KEY, b INT) ENGINE = MyISAM",
        "CREATE TABLE gathered (a INT PRIMARY KEY, b INT) ENGINE = MERGE UNION = (isam)",
        "CREATE TABLE history (a INT) WITH SYSTEM VERSIONING",
        "CREATE VIEW seen AS SELECT a FROM base",
        "CREATE SEQUENCE counting",
        "CREATE TEMPORARY TABLE scratch (a INT)",
    )
    kinds = {k: r.kind for k, r in catalog.relations.items() if r.schema == _own(connection)}
    assert kinds == {"base": "table", "isam": "table", "history": "table", "seen": "view"}


def test_columns_that_a_star_does_not_show_are_absent(connection: pymysql.Connection[Any]) -> None:
    catalog = _catalog(
        connection, "CREATE TABLE t (a INT, b INT INVISIBLE, c INT AS (a + 1) VIRTUAL, d INT AS (a + 2) STORED, KEY (c))"
    )
    assert [(c.name, c.declared.generated if c.declared else None) for c in catalog.relations["t"].columns] == [
        *(("a", ""), ("c", "virtual"), ("d", "stored")),
    ]
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM t")
        assert tuple(d[0] for d in cursor.description) == catalog.relations["t"].column_names


@pytest.mark.parametrize(
    ("table", "stored_by"),
    [
        ("(a INT PRIMARY KEY, b INT UNIQUE)", set()),
        ("(a INT NOT NULL, b INT, UNIQUE (a), KEY (b))", {"a"}),
        ("(a INT, b INT, UNIQUE (a))", set()),
        ("(a INT PRIMARY KEY, b INT) PARTITION BY HASH (a) PARTITIONS 3", {"a"}),
        ("(a INT NOT NULL, b INT, c INT) PARTITION BY RANGE (b DIV 10) (PARTITION p VALUES LESS THAN MAXVALUE)", {"b"}),
        ("(a INT, `b x` INT) PARTITION BY KEY (`b x`) PARTITIONS 2", {"b x"}),
    ],
)
def test_the_order_of_rows_is_known(connection: pymysql.Connection[Any], table: str, stored_by: set[str]) -> None:
    relation = _catalog(connection, f"CREATE TABLE t {table}").relations["t"]
    assert set(relation.stored_by) == stored_by


def test_the_digest_follows_the_schema_and_not_the_data(connection: pymysql.Connection[Any]) -> None:
    own = _own(connection)
    seen = {mysql_version(mysql_digests(connection, [own]))}
    digest = ""
    for statement in [
        *(
            "CREATE TABLE t (a INT)",
            "ALTER TABLE t ADD COLUMN b VARCHAR(9)",
            "ALTER TABLE t MODIFY a BIGINT",
            "CREATE INDEX i ON t (a)",
        ),
        *(
            "CREATE VIEW v AS SELECT a FROM t",
            "ALTER TABLE t RENAME COLUMN b TO c",
            "CREATE OR REPLACE VIEW v AS SELECT a + 1 AS a FROM t",
        ),
        *(
            "ALTER TABLE t MODIFY a BIGINT NOT NULL",
            "ALTER TABLE t MODIFY c VARCHAR(9) COLLATE utf8mb4_bin",
            "ALTER TABLE t ENGINE = Aria",
        ),
        *(
            "CREATE FUNCTION f() RETURNS INT RETURN 1",
            "RENAME TABLE t TO u",
            "ALTER TABLE u DROP COLUMN c",
            "DROP INDEX i ON u",
        ),
    ]:
        _run(connection, statement)
        digest = mysql_version(mysql_digests(connection, [own]))
        assert digest not in seen, statement
        seen.add(digest)
    for statement in ["INSERT INTO u VALUES (1)", "ANALYZE TABLE u", "TRUNCATE u", "CREATE TEMPORARY TABLE scratch (a INT)"]:
        _run(connection, statement)
        assert mysql_version(mysql_digests(connection, [own])) == digest, statement


def test_the_digest_follows_constraints(connection: pymysql.Connection[Any]) -> None:
    own = _own(connection)
    _run(connection, "CREATE TABLE p (id INT PRIMARY KEY, other INT UNIQUE)")
    _run(connection, "CREATE TABLE t (a INT, b INT, KEY (a), KEY (b))")
    seen = {mysql_version(mysql_digests(connection, [own]))}
    for statement in (
        "ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES p (id)",
        "ALTER TABLE t DROP FOREIGN KEY k, ADD CONSTRAINT k2 FOREIGN KEY (a) REFERENCES p (id) ON DELETE CASCADE",
        "ALTER TABLE t DROP FOREIGN KEY k2, ADD CONSTRAINT k FOREIGN KEY (b) REFERENCES p (id)",
        "ALTER TABLE t DROP FOREIGN KEY k, ADD CONSTRAINT k3 FOREIGN KEY (b) REFERENCES p (other)",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)",
        "ALTER TABLE t DROP CONSTRAINT c, ADD CONSTRAINT c CHECK (a > b)",
    ):
        _run(connection, statement)
        digest = mysql_version(mysql_digests(connection, [own]))
        assert digest not in seen, statement
        seen.add(digest)


def test_names_with_quotes_are_names(connection: pymysql.Connection[Any]) -> None:
    catalog = _catalog(connection, "CREATE TABLE `a'b\"c``d\\\\e` (`x'y` INT, `%s` INT)")
    assert catalog.relations["a'b\"c`d\\\\e"].column_names == ("x'y", "%s")


def test_stored_functions_of_the_database_are_told(connection: pymysql.Connection[Any]) -> None:
    _run(connection, "CREATE FUNCTION Regexp_Like(a INT) RETURNS INT RETURN a", "CREATE PROCEDURE p() SELECT 1")
    assert stored_functions(connection) == {"regexp_like"}


def test_an_account_sees_what_it_may(connection: pymysql.Connection[Any], url: str) -> None:
    own = _own(connection)
    _run(connection, *MYSQL_SHOP, f"CREATE USER `{own[-16:]}`@'%' IDENTIFIED BY 'x'")
    try:
        _run(
            connection,
            f"GRANT SELECT ON {own}.employees TO `{own[-16:]}`@'%'",
            f"GRANT SELECT (id) ON {own}.customers TO `{own[-16:]}`@'%'",
        )
        with closing(connect(url.replace("root@", f"{own[-16:]}:x@"))) as reader:
            catalog = read_mysql(reader, mysql_digests(reader))
        assert set(catalog.relations) == {"employees", "customers"}
        assert catalog.relations["customers"].column_names == ("id",)
    finally:
        _run(connection, f"DROP USER `{own[-16:]}`@'%'")
