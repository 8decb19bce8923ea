"""Snowflake: judged only. Names without quotes are upper case in the catalog; a path after a colon is a call of GET_PATH.

Source: https://docs.snowflake.com/en/sql-reference
"""

from __future__ import annotations

import re

from sqlglot import exp
from sqlglot.dialects.snowflake import Snowflake

from guardrails.sql.dialects.base import EngineDialect
from guardrails.sql.dialects.judged.base import Judged
from guardrails.sql.dialects.judged.forms import Forms, call, call_of
from guardrails.sql.dialects.judged.lexing import Lexing
from guardrails.sql.dialects.judged.recursion import refuse_self_named

__all__ = ["engine_dialect"]

_NODES = {
    exp.Array,
    exp.Bracket,
    exp.Fetch,
    exp.HexString,
    exp.ILike,
    exp.Interval,
    exp.Kwarg,
    exp.Lateral,
    exp.LimitOptions,
    exp.NullSafeEQ,
    exp.NullSafeNEQ,
    exp.Qualify,
    exp.TryCast,
}
_TYPES = """
array bigint binary boolean char date datetime decfloat decimal double int interval object smallint text time timestamp timestampltz
timestampntz timestamptz tinyint varbinary variant varchar
"""
_UNITS = """
YEAR YEARS Y YY YYY YYYY YR YRS MONTH MONTHS MM MON MONS DAY DAYS D DD DAYOFMONTH DAYOFWEEK WEEKDAY DOW DW DAYOFWEEKISO WEEKDAYISO
DOW_ISO DW_ISO DAYOFYEAR YEARDAY DOY DY WEEK WEEKS W WK WEEKOFYEAR WOY WY WEEKISO WEEK_ISO WEEKOFYEARISO WEEKOFYEAR_ISO QUARTER QUARTERS
Q QTR QTRS YEAROFWEEK YEAROFWEEKISO HOUR HOURS H HH HR HRS MINUTE MINUTES M MI MIN MINS SECOND SECONDS S SEC SECS MILLISECOND
MILLISECONDS MS MSEC MICROSECOND MICROSECONDS US USEC NANOSECOND NANOSECONDS NS NSEC EPOCH EPOCH_SECOND EPOCH_SECONDS
EPOCH_MILLISECOND EPOCH_MILLISECONDS
"""
_WITH_UNITS = {
    **dict.fromkeys(("DATEADD", "DATEDIFF", "DATE_PART", "TIMEADD", "TIMEDIFF", "TIMESTAMPADD", "TIMESTAMPDIFF"), 0),
    "DATE_TRUNC": 0,
    "LAST_DAY": 1,
}


_FLATTENED = ("SEQ", "KEY", "PATH", "INDEX", "VALUE", "THIS")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def _path(node: exp.Expr) -> exp.Expr | None:
    """`a:b.c[0]` is GET_PATH(a, 'b.c[0]'); keys in quotes are left, and refused."""
    path = node.expression
    if not isinstance(path, exp.JSONPath) or not node.args.get("variant_extract"):
        return None
    text = ""
    for part in path.expressions[1:]:
        is_plain = isinstance(part, exp.JSONPathKey) and not part.args.get("quoted") and _KEY.fullmatch(str(part.this))
        if is_plain:
            text += f".{part.this}" if text else str(part.this)
        elif isinstance(part, exp.JSONPathSubscript) and isinstance(part.this, int):
            text += f"[{part.this}]"
        else:
            return None
    return call("GET_PATH", node.this, exp.Literal.string(text))


def _same_type(node: exp.Expr) -> exp.Expr | None:
    """FLOAT, REAL and DOUBLE are one type in Snowflake, VARCHAR, TEXT and STRING another."""
    same = {exp.DType.FLOAT: exp.DType.DOUBLE, exp.DType.TEXT: exp.DType.VARCHAR, exp.DType.NVARCHAR: exp.DType.VARCHAR}
    if node.this in same:
        node.set("this", same[node.this])
    return None


def engine_dialect() -> EngineDialect:
    """Returns Snowflake's rules."""
    return Judged(
        name="snowflake",
        sqlglot=Snowflake(),
        nodes=frozenset(_NODES),
        types=frozenset(_TYPES.split()),
        lexing=Lexing(are_names_ascii=False),
        forms=Forms(
            nodes={
                exp.DataType: _same_type,
                exp.Extract: call_of("DATE_PART", "this", "expression"),
                exp.JSONExtract: _path,
                exp.RegexpLike: call_of("REGEXP_LIKE", "this", "expression", ignored="full_match"),
                exp.StrPosition: call_of("CHARINDEX", "substr", "this", "position", ignored="clamp_position"),
                exp.Substring: call_of("SUBSTRING", "this", "start", "length", ignored="zero_start"),
            },
            units=_WITH_UNITS,
            words=frozenset(_UNITS.split()),
        ),
        check=refuse_self_named(in_set_operations=True),
        table_functions={
            "flatten": _FLATTENED,
            "split_to_table": ("SEQ", "INDEX", "VALUE"),
            "strtok_split_to_table": ("SEQ", "INDEX", "VALUE"),
        },
        structural=frozenset({"TRY_CAST"}),
        is_quoted_folded=False,
        unquoted="upper",
        default_schema="PUBLIC",
        identifier_bytes=255,
        names_seen="alone",
    ).engine_dialect()
