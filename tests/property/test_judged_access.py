"""Judged dialects against PostgreSQL, which an engine has judged: what both understand reads the same relations and columns."""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.errors import StatementError
from guardrails.model import Access, Catalog, Column, DialectName, MaskExpression, Obligations, Relation, Statement
from guardrails.sql import parse, resolve, rewrite
from guardrails.sql.dialects import dialect_name, dialect_of
from tests.support.generator import TABLES, Generator, seeded
from tests.support.judged_corpus import JUDGED_DIALECTS

_STATEMENTS = 200
_NO_MASK = MaskExpression("NULL")


@cache
def catalog(dialect: DialectName) -> Catalog:
    """The generator's tables, named as the dialect would name them."""
    rules = dialect_of(dialect)
    tables = {
        rules.fold_unquoted(name): Relation(
            rules.default_schema, rules.fold_unquoted(name), "table", tuple(Column(rules.fold_unquoted(c)) for c in columns)
        )
        for name, columns in TABLES.items()
    }
    return Catalog(dialect, rules.default_schema, tables)


@cache
def understood(sql: str, dialect: DialectName) -> tuple[Access, str] | None:
    """What a statement does and how it is written out, None when it is refused."""
    known = catalog(dialect)
    try:
        resolved = resolve(parse(Statement(sql, {}, dialect)), known)
        return resolved.access, rewrite(resolved, Obligations(), known, lambda _m, _c: _NO_MASK).sql
    except StatementError:
        return None


def touched(access: Access) -> tuple[set[str], set[str], list[set[str]]]:
    """Relations with what is done to them, columns, and where each column of the result comes from; in lower case."""
    return (
        {f"{u.relation} {u.action}".lower() for u in access.relations},
        {str(c).lower() for c in access.reads},
        [{str(c).lower() for c in column.sources} for column in access.returned],
    )


@pytest.mark.parametrize("name", JUDGED_DIALECTS)
def test_generated_statements_read_the_same(name: str) -> None:
    dialect = dialect_name(name)
    compared = 0
    for seed in range(_STATEMENTS):
        sql = Generator(seeded(seed), "sqlite").statement()
        judged, generic = understood(sql, dialect), understood(sql, "postgres")
        if judged is None or generic is None:
            continue
        compared += 1
        assert touched(judged[0]) == touched(generic[0]), sql
        again = understood(judged[1], dialect)
        if "gr_" not in judged[1]:
            assert again is not None, judged[1]
            assert touched(again[0]) == touched(judged[0]), sql
    assert compared > _STATEMENTS / 4


@given(st.randoms(use_true_random=False), st.sampled_from(JUDGED_DIALECTS))
@settings(max_examples=80, deadline=None)
def test_the_same_with_what_shrinks(source: random.Random, name: str) -> None:
    sql = Generator(source.randrange, "sqlite").statement()
    judged, generic = understood(sql, dialect_name(name)), understood(sql, "postgres")
    if judged is not None and generic is not None:
        assert touched(judged[0]) == touched(generic[0]), sql
