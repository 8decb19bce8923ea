"""The rows that INSERT … VALUES gives, as values, as far as the text itself tells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlglot import exp

from guardrails.model import Row, Value

__all__ = ["given_values", "stated_value"]


def given_values(
    source: exp.Values | None, named: Sequence[str], shown: Sequence[str], values: Mapping[str, Value], most: int
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Returns the rows, and the columns of which some value is not known before the statement runs.

    Args:
        source: The VALUES; None for DEFAULT VALUES.
        named: The columns that they are for, in order.
        shown: The columns that are wanted.
        values: Bound values by the placeholder's name.
        most: How many rows are wanted.
    """
    if source is None:
        return (), ()
    rows: list[Row] = []
    unknown: set[str] = set()
    for item in source.expressions[:most]:
        cells = dict(zip(named, item.expressions if isinstance(item, exp.Tuple) else [item], strict=False))
        row: list[Value] = []
        for name in shown:
            is_known, value = stated_value(cells.get(name), values)
            row.append(value)
            if not is_known:
                unknown.add(name)
        rows.append(tuple(row))
    return tuple(rows), tuple(name for name in shown if name in unknown)


def stated_value(node: exp.Expr | None, values: Mapping[str, Value]) -> tuple[bool, Value]:
    """Returns whether the text tells an expression's value, and the value; `values` are bound ones by the placeholder's name."""
    match node:
        case exp.Paren():
            return stated_value(node.this, values)
        case exp.Placeholder():
            return True, values[str(node.this)]
        case exp.Null():
            return True, None
        case exp.Boolean():
            return True, bool(node.this)
        case exp.Literal() if node.is_string:
            return True, str(node.this)
        case exp.Literal():
            return True, _number(str(node.this))
        case exp.Neg():
            is_known, value = stated_value(node.this, values)
            if is_known and isinstance(value, (int, Decimal)):
                return True, -value
    return False, None


def _number(text: str) -> int | Decimal:
    return int(text) if text.isdecimal() else Decimal(text)
