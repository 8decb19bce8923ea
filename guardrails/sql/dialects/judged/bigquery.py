"""BigQuery (GoogleSQL): judged only.

Names of tables are compared letter by letter, all others without regard to case. A dotted name may be a field of a column, so that a
name which stands for a relation and a column at once is refused. A relation needs the dataset that the schema gives it; names with a
project, wildcards, partition decorators and arrays in FROM are not bound, and so refused.
Source: https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical
"""

from __future__ import annotations

from sqlglot import exp
from sqlglot.dialects.bigquery import BigQuery

from guardrails.sql.dialects.base import EngineDialect
from guardrails.sql.dialects.judged.base import Judged
from guardrails.sql.dialects.judged.forms import Forms, bare_word, call_of
from guardrails.sql.dialects.judged.lexing import Lexing

__all__ = ["engine_dialect"]

_NODES = {
    exp.Array,
    exp.BitwiseXor,
    exp.Bracket,
    exp.CurrentDatetime,
    exp.Extract,
    exp.Interval,
    exp.NullSafeEQ,
    exp.NullSafeNEQ,
    exp.Qualify,
    exp.TryCast,
}
_TYPES = "array bigdecimal bigint binary boolean date decimal double geography interval json text time timestamp timestamptz"
_UNITS = """
MICROSECOND MILLISECOND SECOND MINUTE HOUR DAY DAYOFWEEK DAYOFYEAR WEEK ISOWEEK MONTH QUARTER YEAR ISOYEAR
"""
_KINDS = ("DATE", "DATETIME", "TIME", "TIMESTAMP")


def _interval(node: exp.Expr) -> exp.Expr | None:
    """`INTERVAL 1 DAY` keeps its number, which would become a string."""
    value = node.this
    if isinstance(value, exp.Literal) and value.is_string and value.name.isdigit():
        value.replace(exp.Paren(this=exp.Literal.number(value.name)))
    return None


def _week(node: exp.Expr) -> exp.Expr | None:
    """`EXTRACT(WEEK(MONDAY) FROM d)`."""
    word = bare_word(node.this)
    if word.startswith("WEEK("):
        node.set("this", exp.Var(this=word))
    return None


def _keys(node: exp.Expr) -> exp.Expr | None:
    """The generator writes the name of a result column in GROUP BY for the expression behind it; in parentheses it does not."""
    projections = node.parent.expressions if isinstance(node.parent, exp.Select) else []
    # A column that is called what it is called in the result stays what it is.
    named = [p.this for p in projections if isinstance(p, exp.Alias) and p.this != exp.Column(this=p.args["alias"].copy())]
    if node.expressions:
        node.set("expressions", [exp.Paren(this=k) if k in named else k for k in node.expressions])
    return None


def _integer(node: exp.Expr) -> exp.Expr | None:
    """Every name of an integer type is INT64."""
    if node.this in (exp.DType.INT, exp.DType.SMALLINT, exp.DType.TINYINT):
        node.set("this", exp.DType.BIGINT)
    return None


def engine_dialect() -> EngineDialect:
    """Returns BigQuery's rules."""
    return Judged(
        name="bigquery",
        sqlglot=BigQuery(),
        nodes=frozenset(_NODES),
        types=frozenset(_TYPES.split()),
        lexing=Lexing(are_names_plain=True, bound="@"),
        forms=Forms(
            nodes={
                exp.DataType: _integer,
                exp.Extract: _week,
                exp.Interval: _interval,
                exp.Group: _keys,
                exp.Mod: call_of("MOD", "this", "expression"),
                exp.StrPosition: call_of("INSTR", "this", "substr", "position", "occurrence"),
            },
            units={f"{kind}_DIFF": 2 for kind in _KINDS} | {f"{kind}_TRUNC": 1 for kind in _KINDS} | {"LAST_DAY": 1},
            words=frozenset(_UNITS.split()),
        ),
        structural=frozenset({"SAFE_CAST"}),
        are_relations_exact=True,
        are_keys_wrapped=True,
        has_fields=True,
        nameless="f{}_",
        names_seen="alone",
    ).engine_dialect()
