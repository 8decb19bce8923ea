"""Databricks SQL (Spark): judged only. Names are compared without regard to case, and a dotted name may be a field of a column.

Source: https://docs.databricks.com/en/sql/language-manual
"""

from __future__ import annotations

from sqlglot import exp
from sqlglot.dialects.databricks import Databricks

from guardrails.errors import StatementError
from guardrails.sql.dialects.base import EngineDialect, Fence
from guardrails.sql.dialects.judged.base import Judged
from guardrails.sql.dialects.judged.forms import Forms, call_of
from guardrails.sql.dialects.judged.lexing import Lexing

__all__ = ["engine_dialect"]

_NODES = {
    exp.Array,
    exp.BitwiseXor,
    exp.Bracket,
    exp.Extract,
    exp.HexString,
    exp.ILike,
    exp.IntDiv,
    exp.Interval,
    exp.Lateral,
    exp.NullSafeEQ,
    exp.NullSafeNEQ,
    exp.Overlay,
    exp.Qualify,
    exp.TryCast,
}
_TYPES = """
array bigint binary boolean date decimal double float int map smallint text timestampntz timestamptz tinyint variant
"""
_UNITS = "MICROSECOND MILLISECOND SECOND MINUTE HOUR DAY DAYOFYEAR WEEK MONTH QUARTER YEAR"


def _check(tree: exp.Expr) -> None:
    """A comma binds less tightly than a join, and is written as CROSS JOIN, which matters to what an outer join keeps."""
    for select in tree.find_all(exp.Select):
        is_crossed = False
        for join in select.args.get("joins") or []:
            if is_crossed and join.args.get("side") in ("RIGHT", "FULL"):
                message = "A RIGHT or FULL JOIN comes after a comma or CROSS JOIN."
                raise StatementError("sql.construct_unsupported", message, hint="Put the outer join first.")
            is_crossed |= join.args.get("kind") == "CROSS"


def engine_dialect() -> EngineDialect:
    """Returns Databricks' rules."""
    return Judged(
        name="databricks",
        sqlglot=Databricks(),
        nodes=frozenset(_NODES),
        types=frozenset(_TYPES.split()),
        lexing=Lexing(),
        forms=Forms(
            nodes={
                exp.RegexpLike: call_of("REGEXP_LIKE", "this", "expression"),
                exp.StrPosition: call_of("LOCATE", "substr", "this", "position"),
            },
            units=dict.fromkeys(("DATEADD", "DATEDIFF", "DATE_ADD", "DATE_DIFF", "TIMESTAMPADD", "TIMESTAMPDIFF"), 0),
            words=frozenset(_UNITS.split()),
        ),
        check=_check,
        table_functions={
            "explode": ("col",),
            "explode_outer": ("col",),
            "posexplode": ("pos", "col"),
            "posexplode_outer": ("pos", "col"),
        },
        structural=frozenset({"TRY_CAST"}),
        has_fields=True,
        default_schema="default",
        identifier_bytes=255,
        # LIMIT takes an INT there, which is less than a table may hold, and OFFSET 0 is dropped.
        fence=Fence(limit=None, offset=None),
        names_seen="alone",
    ).engine_dialect()
