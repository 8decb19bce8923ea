"""A plan as one text that needs nothing beside it: its bound values as constants, and its limit of rows as LIMIT.

A tool of somebody else's takes a text and nothing more, and runs it on a connection that is not ours. So what cannot stand in a text is
refused: keys of masks, which are secrets, functions that only connections of ours have, and texts that a setting of the connection would
read in another way.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Plan, Value
from guardrails.sql.dialects import EngineDialect, dialect_of
from guardrails.sql.params import placeholder_name
from guardrails.sql.parse import check_round_trip, parse_tree
from guardrails.sql.tokens import tokenize

__all__ = ["inlined"]

_OWN_FUNCTIONS = re.compile(r"guardrails_\w+", re.IGNORECASE)
_KEY_PREFIX = "mask_"
_ESCAPING = frozenset({"postgres", "mysql"})
"""Where a setting of the connection says what a backslash in a text means."""


def inlined(plan: Plan) -> str:
    """Returns the plan's statement with every bound value written out, and no more rows than the plan may return.

    Args:
        plan: What would run on an engine of ours.

    Raises:
        StatementError: A mask needs a key or a function of ours (``mask.unsupported``), a value or text cannot be written out so
            that every connection reads it alike, or the number of rows is not a constant (``sql.construct_unsupported``).
    """
    if plan.lookups or plan.settings or (plan.is_explain and plan.params):
        raise _unsupported("What it needs beside its text cannot be handed to another server.")
    if plan.is_explain:
        return plan.sql
    dialect = dialect_of(plan.dialect)
    tree = parse_tree(plan.sql, tokenize(plan.sql, dialect), dialect)
    _require_portable(tree, dialect)
    _write_values(tree, plan.params, dialect)
    if plan.is_read_only:
        _limit(tree, plan.limits.rows)
    return check_round_trip(tree, dialect)


def _require_portable(tree: exp.Expr, dialect: EngineDialect) -> None:
    names = (str(node.this) for node in tree.find_all(exp.Anonymous))
    if any(map(_OWN_FUNCTIONS.fullmatch, names)):
        hint = (
            "Leave the masked column out; an administrator can choose a mask of plain SQL, or have the guard run the statement."
        )
        raise StatementError("mask.unsupported", "A mask needs a function that the other server does not have.", hint=hint)
    if dialect.name in _ESCAPING:
        for literal in tree.find_all(exp.Literal):
            _require_plain_text(str(literal.this), dialect)


def _write_values(tree: exp.Expr, params: Mapping[str, Value], dialect: EngineDialect) -> None:
    numbered = list(params)
    for node in list(tree.find_all(exp.Placeholder, exp.Parameter)):
        name = placeholder_name(node)
        name = numbered[int(name) - 1] if dialect.placeholders == "numbered" else name
        if name.startswith(_KEY_PREFIX):
            hint = "Leave the masked column out; an administrator can choose a mask without a key, or have the guard run the statement."
            raise StatementError("mask.unsupported", "A mask needs a key, which no other server may have.", hint=hint)
        node.replace(_constant(params[name], dialect))


def _constant(value: Value, dialect: EngineDialect) -> exp.Expr:
    match value:
        case None:
            return exp.null()
        case bool():
            return exp.Boolean(this=value)
        case int():
            return _number(str(abs(value)), is_negative=value < 0)
        case float() if math.isfinite(value):
            return _number(repr(abs(value)), is_negative=math.copysign(1, value) < 0)
        case Decimal() if value.is_finite():
            return _number(format(abs(value), "f"), is_negative=value.is_signed())
        case str():
            _require_plain_text(value, dialect)
            return exp.Literal.string(value)
    raise _unsupported(f"A value of type {type(value).__name__} cannot be written into the statement.")


def _require_plain_text(text: str, dialect: EngineDialect) -> None:
    if "\0" in text or (dialect.name in _ESCAPING and "\\" in text):
        raise _unsupported("A text with a backslash or a NUL may be read in another way by the other server.")


def _number(digits: str, *, is_negative: bool) -> exp.Expr:
    number = exp.Literal.number(digits)
    return exp.Neg(this=number) if is_negative else number


def _limit(tree: exp.Expr, rows: int) -> None:
    """Adds a LIMIT, or lowers the one that is there."""
    if not isinstance(tree, exp.Query):
        raise _unsupported("The rows of this kind of statement cannot be limited for another server.")
    limit = tree.args.get("limit")
    if limit is None:
        tree.limit(rows, copy=False)
        return
    is_fetch = isinstance(limit, exp.Fetch)
    count = limit.args.get("count") if is_fetch else limit.expression
    options = limit.args.get("limit_options") if is_fetch else None
    is_plain = options is None or not (options.args.get("percent") or options.args.get("with_ties"))
    if not isinstance(count, exp.Literal) or count.is_string or not str(count.this).isdigit() or not is_plain:
        raise StatementError(
            "sql.construct_unsupported",
            "The number of rows is not a constant.",
            hint=f"Write LIMIT with a number up to {rows}.",
        )
    if int(str(count.this)) > rows:
        count.replace(exp.Literal.number(rows))


def _unsupported(message: str) -> StatementError:
    return StatementError("sql.construct_unsupported", message)
