"""T-SQL (SQL Server, Azure SQL): judged only.

Names are compared without regard to case, as the collations that Microsoft installs do; ASCII alone, since what else is equal depends on
the collation. A statement may follow another without a semicolon, see `guardrails.sql.dialects.judged.batch`. A name in double quotes
is a name (QUOTED_IDENTIFIER ON, which every driver sets) and is written in brackets, where it is a name always.
Source: https://learn.microsoft.com/en-us/sql/t-sql/language-reference
"""

from __future__ import annotations

from sqlglot import exp
from sqlglot.dialects.tsql import TSQL

from guardrails.errors import StatementError
from guardrails.sql.dialects.base import EngineDialect
from guardrails.sql.dialects.judged.base import Judged
from guardrails.sql.dialects.judged.batch import check_batch
from guardrails.sql.dialects.judged.forms import Forms, call_of, name_of_call
from guardrails.sql.dialects.judged.lexing import Lexing
from guardrails.sql.dialects.judged.recursion import refuse_self_named

__all__ = ["engine_dialect"]

_NODES = {
    exp.AtTimeZone,
    exp.BitwiseXor,
    exp.Convert,
    exp.Fetch,
    exp.HexString,
    exp.Lateral,
    exp.LimitOptions,
    exp.National,
    exp.TryCast,
}
_TYPES = """
bigint binary bit char date datetime datetime2 decimal float int money nchar nvarchar smalldatetime smallint smallmoney time timestamptz
utinyint uuid varbinary varchar
"""
_UNITS = """
YEAR YY YYYY QUARTER QQ Q MONTH MM M DAYOFYEAR DY Y DAY DD D WEEK WK WW WEEKDAY DW W HOUR HH MINUTE MI N SECOND SS S MILLISECOND MS
MICROSECOND MCS NANOSECOND NS TZOFFSET TZ ISO_WEEK ISOWK ISOWW
"""
_WITH_UNITS = ("DATEADD", "DATEDIFF", "DATEDIFF_BIG", "DATENAME", "DATEPART", "DATETRUNC", "DATE_BUCKET")


_refuse_self_named = refuse_self_named(in_set_operations=False)


def _check(tree: exp.Expr) -> None:
    _refuse_self_named(tree)
    for join in tree.find_all(exp.Join):
        if join.args.get("using") or join.args.get("method"):
            raise StatementError("sql.construct_unsupported", "T-SQL joins with ON only.", hint="Use ON.")


def _count(node: exp.Expr) -> exp.Expr | None:
    """COUNT_BIG(*) counts rows, as COUNT_BIG(1) does."""
    if name_of_call(node) == "COUNT_BIG" and len(node.expressions) == 1 and isinstance(node.expressions[0], exp.Star):
        node.set("expressions", [exp.Literal.number(1)])
    return None


def _alias_columns(node: exp.Expr) -> None:
    """The generator gives each plain column of a subquery in FROM, or of a common table expression, its own name as an alias."""
    query = node.this
    for select in [query] if isinstance(query, exp.Select) else []:
        for item in list(select.expressions):
            if isinstance(item, exp.Column) and isinstance(item.this, exp.Identifier):
                item.replace(exp.Alias(this=item.copy(), alias=item.this.copy()))


def engine_dialect() -> EngineDialect:
    """Returns T-SQL's rules."""
    return Judged(
        name="tsql",
        sqlglot=TSQL(),
        nodes=frozenset(_NODES),
        types=frozenset(_TYPES.split()),
        lexing=Lexing(has_line_continuation=True, has_typed_constants=False, misread=frozenset({"REAL"}), check=check_batch),
        forms=Forms(
            nodes={
                exp.Anonymous: _count,
                exp.CurrentTimestamp: call_of("GETDATE"),
                exp.CTE: _alias_columns,
                exp.Subquery: _alias_columns,
            },
            units=dict.fromkeys(_WITH_UNITS, 0),
            words=frozenset(_UNITS.split()),
        ),
        refused=frozenset({exp.Boolean, exp.DPipe, exp.CurrentDate, exp.CurrentTime}),
        check=_check,
        table_functions={
            "generate_series": ("value",),
            "openjson": ("key", "value", "type"),
            "string_split": ("value",),
        },
        structural=frozenset({"CONVERT", "TRY_CONVERT", "TRY_CAST"}),
        default_schema="dbo",
        are_ctes_open=True,
        identifier_bytes=128,
        index_hint="refused",
    ).engine_dialect()
