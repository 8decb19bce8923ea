"""Oracle Database: judged only. Names without quotes are upper case in the catalog, and a dotted name may be a field of a column.

Pseudo-columns (ROWNUM, ROWID, LEVEL, sequences' NEXTVAL) and names of links (`t@link`) are none that a schema lists, and so refused.
`DUAL` is a relation like any other: the schema has to name it. Source: https://docs.oracle.com/en/database/oracle/oracle-database/23/sqlrf
"""

from __future__ import annotations

import re

from sqlglot import exp
from sqlglot.dialects.oracle import Oracle

from guardrails.sql.dialects.base import EngineDialect, Fence
from guardrails.sql.dialects.judged.base import Judged
from guardrails.sql.dialects.judged.forms import Form, Forms, call, call_of
from guardrails.sql.dialects.judged.lexing import Lexing
from guardrails.sql.dialects.judged.recursion import refuse_self_named

__all__ = ["engine_dialect"]

_NODES = {
    exp.AtTimeZone,
    exp.Extract,
    exp.Fetch,
    exp.Interval,
    exp.LimitOptions,
    exp.Localtimestamp,
    exp.National,
    exp.NullSafeEQ,
    exp.NullSafeNEQ,
    exp.Systimestamp,
}
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?", re.ASCII)
_TYPES = "char date decimal float int nchar nvarchar smallint text timestamp timestamptz varchar"


def _constant(name: str, form: re.Pattern[str], picture: str) -> Form:
    """`DATE '2026-01-31'` is the call that the generator writes for it; other constants are left, and refused."""

    def give(node: exp.Expr) -> exp.Expr | None:
        value = node.this
        is_constant = isinstance(value, exp.Literal) and value.is_string and form.fullmatch(value.name) is not None
        return call(name, value, exp.Literal.string(picture)) if is_constant else None

    return give


def engine_dialect() -> EngineDialect:
    """Returns Oracle's rules."""
    return Judged(
        name="oracle",
        sqlglot=Oracle(),
        nodes=frozenset(_NODES),
        types=frozenset(_TYPES.split()),
        lexing=Lexing(are_names_ascii=False, misread=frozenset({"BINARY_DOUBLE", "BINARY_FLOAT", "REAL"})),
        forms=Forms(
            nodes={
                exp.DateStrToDate: _constant("TO_DATE", _DATE, "YYYY-MM-DD"),
                exp.StrToTime: _constant("TO_TIMESTAMP", _TIMESTAMP, "YYYY-MM-DD HH24:MI:SS.FF6"),
                exp.StrPosition: call_of("INSTR", "this", "substr", "position", "occurrence"),
                exp.Substring: call_of("SUBSTR", "this", "start", "length"),
            }
        ),
        refused=frozenset({exp.Boolean, exp.CurrentTime, exp.Filter, exp.Limit}),
        check=refuse_self_named(in_set_operations=False),
        is_quoted_folded=False,
        unquoted="upper",
        are_ctes_open=True,
        has_fields=True,
        identifier_bytes=128,
        fence=Fence(limit=2**63 - 1, offset=None, is_fetch=True),
        index_hint="refused",
    ).engine_dialect()
