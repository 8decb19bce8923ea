"""A plan as one text: values as constants that read alike everywhere, a limit of rows, and nothing that must not leave."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrails.errors import StatementError
from guardrails.model import DialectName, Limits, Plan, Value
from guardrails.sql.inlining import inlined


def plan(sql: str, params: Mapping[str, Value] = {}, dialect: DialectName = "sqlite", **fields: Any) -> Plan:
    action = fields.pop("action", "select")
    return Plan(sql, params, dialect, (action,), (), (), (), Limits(rows=5), **fields)


WRITTEN: dict[str, tuple[Plan, str]] = {
    "text": (plan('SELECT "a" FROM "t" WHERE "x" = :p', {"p": "o'b"}), """SELECT "a" FROM "t" WHERE "x" = 'o''b' LIMIT 5"""),
    "number": (plan('SELECT "a" FROM "t" WHERE "x" = :p', {"p": -5}), 'SELECT "a" FROM "t" WHERE "x" = -5 LIMIT 5'),
    "decimal": (plan('SELECT :p AS "a"', {"p": Decimal("-1E+2")}), 'SELECT -100 AS "a" LIMIT 5'),
    "null": (plan('SELECT :p AS "a"', {"p": None}), 'SELECT NULL AS "a" LIMIT 5'),
    "lower": (plan('SELECT "a" FROM "t" LIMIT 3'), 'SELECT "a" FROM "t" LIMIT 3'),
    "higher": (plan('SELECT "a" FROM "t" LIMIT 300 OFFSET 2'), 'SELECT "a" FROM "t" LIMIT 5 OFFSET 2'),
    "union": (plan('SELECT 1 AS "a" UNION ALL SELECT 2 AS "a"'), 'SELECT 1 AS "a" UNION ALL SELECT 2 AS "a" LIMIT 5'),
    "fetch": (
        plan('SELECT "a" FROM "t" FETCH FIRST 30 ROWS ONLY', dialect="postgres"),
        'SELECT "a" FROM "t" FETCH FIRST 5 ROWS ONLY',
    ),
    "numbered": (
        plan('SELECT "a" FROM "t" WHERE "x" = $2 AND "y" = $1 AND "z" = $2', {"r": "EU", "s": True}, "postgres"),
        """SELECT "a" FROM "t" WHERE "x" = TRUE AND "y" = 'EU' AND "z" = TRUE LIMIT 5""",
    ),
    "mysql": (plan("SELECT `a` FROM `t` WHERE `x` = :r", {"r": "é"}, "mysql"), "SELECT `a` FROM `t` WHERE `x` = 'é' LIMIT 5"),
    "duckdb": (plan('SELECT "a" FROM "t" WHERE "x" = $r', {"r": 1.5}, "duckdb"), 'SELECT "a" FROM "t" WHERE "x" = 1.5 LIMIT 5'),
    "change": (
        plan('UPDATE "t" SET "a" = :r WHERE "b" = 1', {"r": 1.5}, action="update"),
        'UPDATE "t" SET "a" = 1.5 WHERE "b" = 1',
    ),
    "explain": (plan('EXPLAIN SELECT "a" FROM "t"', is_explain=True), 'EXPLAIN SELECT "a" FROM "t"'),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_it_is_written_out(name: str) -> None:
    given_plan, text = WRITTEN[name]
    assert inlined(given_plan) == text


REFUSED: dict[str, tuple[Plan, str]] = {
    "key": (plan('SELECT :mask_hash_key AS "a"', {"mask_hash_key": b"k"}), "mask.unsupported"),
    "shift": (plan('SELECT $1 AS "a"', {"mask_shift_5": 3}, "postgres"), "mask.unsupported"),
    "function": (plan('SELECT guardrails_mask_email("a") AS "a" FROM "t"'), "mask.unsupported"),
    "upper-function": (plan('SELECT GUARDRAILS_MASK_EMAIL("a") AS "a" FROM "t"'), "mask.unsupported"),
    "bytes": (plan('SELECT :p AS "a"', {"p": b"x"}), "sql.construct_unsupported"),
    "infinite": (plan('SELECT :p AS "a"', {"p": float("inf")}), "sql.construct_unsupported"),
    "backslash": (plan('SELECT $1 AS "a"', {"p": "a\\"}, "postgres"), "sql.construct_unsupported"),
    "backslash-literal": (plan("SELECT 'a\\' AS \"a\"", dialect="postgres"), "sql.construct_unsupported"),
    "backslash-mysql": (plan("SELECT 'a\\\\' AS `a`", dialect="mysql"), "sql.construct_unsupported"),
    "no-limit": (plan('SELECT "a" FROM "t" LIMIT -1'), "sql.construct_unsupported"),
    "limit-null": (plan('SELECT "a" FROM "t" LIMIT NULL', dialect="postgres"), "sql.construct_unsupported"),
    "with-ties": (plan('SELECT "a" FROM "t" FETCH FIRST 1 ROWS WITH TIES', dialect="postgres"), "sql.construct_unsupported"),
    "settings": (plan('SELECT "a" FROM "t"', settings={"guardrails.region": "EU"}), "sql.construct_unsupported"),
    "explain": (plan('EXPLAIN SELECT :p AS "a"', {"p": 1}, is_explain=True), "sql.construct_unsupported"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_must_not_leave_or_could_be_read_otherwise_is_refused(name: str) -> None:
    given_plan, code = REFUSED[name]
    with pytest.raises(StatementError) as caught:
        inlined(given_plan)
    assert caught.value.code == code


@given(
    st.text(st.characters(exclude_categories=("Cs", "Cc")))
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
def test_a_constant_is_the_value(value: str | int | float) -> None:
    try:
        text = inlined(plan('SELECT :p AS "a"', {"p": value}))
    except StatementError:
        return
    with sqlite3.connect(":memory:") as connection:
        (row,) = connection.execute(text).fetchall()
    assert row == (value,)
