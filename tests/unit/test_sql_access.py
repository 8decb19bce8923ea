"""What `Access` tells beyond reads and writes: the clause of each column, idle conditions, joins that relate nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guardrails.catalog import from_ddl
from guardrails.errors import StatementError
from guardrails.model import Access, ColumnRef, DialectName, Limits, Statement
from guardrails.sql import parse, resolve

_DDL = """
    CREATE TABLE c (id int PRIMARY KEY, name text, email text, region text);
    CREATE TABLE o (id int PRIMARY KEY, cid int, amount numeric, status text);
    CREATE VIEW v AS SELECT c.id, c.email FROM c WHERE region = 'EU';
"""


def _access(sql: str, dialect: DialectName = "postgres") -> Access:
    catalog = from_ddl(_DDL, dialect)
    return resolve(parse(Statement(sql, {}, dialect)), catalog).access


def _names(columns: tuple[ColumnRef, ...]) -> str:
    return " ".join(map(str, columns))


@pytest.mark.parametrize("dialect", ["postgres", "sqlite"])
@pytest.mark.parametrize(
    ("sql", "filtered", "joined", "grouped", "ordered"),
    [
        ("SELECT name FROM c WHERE email LIKE 'a%' ORDER BY region", "c.email", "", "", "c.region"),
        ("SELECT region AS r, count(*) FROM c GROUP BY r ORDER BY r", "", "", "c.region", "c.region"),
        ("SELECT region, count(*) FROM c GROUP BY 1 HAVING max(name) > 'a' ORDER BY 1", "c.name", "", "c.region", "c.region"),
        ("SELECT sum(amount) FILTER (WHERE status = 'x') FROM o", "o.status", "", "", ""),
        ("SELECT sum(amount) OVER (PARTITION BY cid ORDER BY id) FROM o", "", "", "o.cid", "o.id"),
        ("SELECT c.name FROM c JOIN o ON o.cid = c.id", "", "c.id o.cid", "", ""),
        ("SELECT name, amount FROM c JOIN o USING (id)", "", "c.id o.id", "", ""),
        ("SELECT name FROM c WHERE id IN (SELECT cid FROM o WHERE status = 'x')", "c.id o.cid o.status", "", "", ""),
        ("SELECT x.n FROM (SELECT name AS n, email FROM c) AS x WHERE x.email = 'a'", "c.email", "", "", ""),
        ("WITH w AS (SELECT region AS r FROM c) SELECT r FROM w ORDER BY r", "", "", "", "c.region"),
        ("SELECT name FROM c UNION ALL SELECT status FROM o ORDER BY 1", "", "", "", "c.name o.status"),
        ("SELECT id FROM v WHERE email = 'a'", "c.email v.email", "", "", ""),
    ],
)
def test_clauses(dialect: DialectName, sql: str, filtered: str, joined: str, grouped: str, ordered: str) -> None:
    access = _access(sql, dialect)
    found = tuple(map(_names, (access.filtered, access.joined, access.grouped, access.ordered)))
    assert found == (filtered, joined, grouped, ordered)
    assert {*access.filtered, *access.joined, *access.grouped, *access.ordered} <= set(access.reads)


def test_clauses_of_postgres() -> None:
    assert _names(_access("SELECT DISTINCT ON (region) name FROM c ORDER BY region, id").grouped) == "c.region"
    assert _names(_access("SELECT region FROM c GROUP BY GROUPING SETS ((region), (name))").grouped) == "c.name c.region"
    assert _names(_access("SELECT string_agg(name, ',' ORDER BY id) FROM c").ordered) == "c.id"


@pytest.mark.parametrize(
    ("condition", "is_restricted", "has_tautology"),
    [
        ("id = 7", True, False),
        ("1 = 1 AND id = 7", True, False),
        ("1 = 1", False, True),
        ("TRUE", False, True),
        ("id = id", False, True),
        ("(id) = id", False, True),
        ("NOT id <> id", False, True),
        ("id = 7 OR TRUE", False, True),
        ("id = 7 OR 'a' = 'a'", False, True),
        ("name IS NULL OR name IS NOT NULL", False, True),
        ("name LIKE '%'", False, True),
        ("name LIKE '%a%'", True, False),
        ("id > 1 AND (id = 7 OR 1 = 1)", True, True),
        ("EXISTS (SELECT 1 FROM o WHERE o.cid = c.id)", True, False),
    ],
)
def test_conditions_that_restrict_nothing(condition: str, is_restricted: bool, has_tautology: bool) -> None:
    for verb in ("DELETE FROM c", "UPDATE c SET region = 'x'"):
        access = _access(f"{verb} WHERE {condition}")
        assert (access.is_restricted, access.has_tautology, access.has_where) == (is_restricted, has_tautology, True)
    assert _access(f"SELECT name FROM c WHERE {condition}").has_tautology is has_tautology


@pytest.mark.parametrize(
    ("relations", "has_cross_join"),
    [
        ("c", False),
        ("c, o", True),
        ("c CROSS JOIN o", True),
        ("c JOIN o ON TRUE", True),
        ("c JOIN o ON o.status = 'x'", True),
        ("c, o WHERE c.id = o.cid", False),
        ("c, o WHERE c.region = 'EU' AND o.status = 'x'", True),
        ("c JOIN o ON c.id = o.cid JOIN v ON v.id = 1", True),
        ("c NATURAL JOIN o", False),
        ("c CROSS JOIN LATERAL (SELECT amount FROM o WHERE o.cid = c.id) AS x", False),
        ("c CROSS JOIN LATERAL (SELECT amount FROM o) AS x", True),
        ("c CROSS JOIN generate_series(1, 3) AS g", False),
    ],
)
def test_cross_joins(relations: str, has_cross_join: bool) -> None:
    assert _access(f"SELECT 1 FROM {relations}").has_cross_join is has_cross_join


def test_limit_and_where_of_the_outermost_query() -> None:
    assert _access("SELECT name FROM c LIMIT 3").has_limit
    assert not _access("SELECT name FROM (SELECT name FROM c WHERE id = 1 LIMIT 3) AS x").has_limit
    assert not _access("SELECT name FROM (SELECT name FROM c WHERE id = 1) AS x").has_where


def test_constant_conditions() -> None:
    assert _access("DELETE FROM c WHERE 1 = 0").is_restricted
    assert not _access("DELETE FROM c WHERE 1 = 1.0").is_restricted
    assert not _access("SELECT name FROM c WHERE FALSE").has_tautology


@pytest.mark.parametrize(
    ("name", "sql"),
    [
        ("tokens", "SELECT 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1"),
        ("depth", "SELECT ((((((((((1))))))))))"),
        ("joins", "SELECT 1 FROM c AS c1, c AS c2, c AS c3, c AS c4, c AS c5, c AS c6, c AS c7"),
        ("ctes", "WITH a AS (SELECT 1), b AS (SELECT 1), d AS (SELECT 1), e AS (SELECT 1) SELECT 1"),
        ("in_list", "SELECT 1 WHERE 1 IN (1, 2, 3, 4, 5)"),
    ],
)
def test_limits_of_the_policy(name: str, sql: str) -> None:
    bounds = {"tokens": 16, "depth": 8, "joins": 3, "ctes": 3, "in_list": 4}
    parse(Statement(sql, {}, "postgres"))
    parse(Statement(sql, {}, "postgres"), replace(Limits(), **{k: v for k, v in bounds.items() if k not in (name, "tokens")}))
    with pytest.raises(StatementError) as caught:
        parse(Statement(sql, {}, "postgres"), replace(Limits(), **{name: bounds[name]}))
    assert caught.value.code in ("sql.too_large", "sql.too_deep")


@pytest.mark.parametrize(
    "sql", ['SELECT name COLLATE "C" % email FROM c', 'SELECT name COLLATE "C" * (SELECT max(email) FROM c) FROM c']
)
def test_no_operand_hides_behind_a_collation(sql: str) -> None:
    """sqlglot takes what follows a collation's name for part of the name, where no column would be looked for."""
    with pytest.raises(StatementError, match="COLLATE"):
        _access(sql)
    assert _names(_access(sql.replace('name COLLATE "C"', '(name COLLATE "C")')).reads) == "c.email c.name"
