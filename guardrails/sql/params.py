"""Bound parameters: by name in the tree, in the engine's own style in the text, and never part of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Params, Value
from guardrails.sql.tokens import POSITION_PREFIX

__all__ = ["BOUND_PREFIX", "bind_params", "given_rows", "named_params", "number_params", "placeholder_name", "texts_in"]

BOUND_PREFIX = "p_"
"""What the names of the agent's values start with in a plan."""


def texts_in(tree: exp.Expr, params: Params) -> Iterator[str]:
    """Yields every text that a statement brings along: constants, and the agent's values."""
    yield from (str(node.this) for node in tree.find_all(exp.Literal) if node.is_string)
    yield from (v for v in named_params(params).values() if isinstance(v, str))


def named_params(params: Params) -> dict[str, Value]:
    """Returns the agent's values by name; those by position are called 1, 2, …

    Raises:
        StatementError: They are neither (``sql.params_mismatch``).
    """
    if isinstance(params, Mapping):
        return {str(name): value for name, value in params.items()}
    return {str(index + 1): value for index, value in enumerate(_sequence(params))}


def given_rows(tree: exp.Expr) -> int:
    """Returns how many rows a statement inserts as values; 0 for every other statement."""
    values = tree.args.get("expression") if isinstance(tree, exp.Insert) else None
    return len(values.expressions) if isinstance(values, exp.Values) else 0


def bind_params(tree: exp.Expr, params: Params) -> dict[str, Value]:
    """Gives every placeholder of the agent's a name and its value.

    Args:
        tree: The tree; `?` and `$1` become names in place.
        params: The agent's values: a mapping for names, a sequence for positions.

    Returns:
        The values by the names in the tree, each starting with ``p_`` so that they cannot meet the guard's own.

    Raises:
        StatementError: A placeholder has no value or a value no placeholder (``sql.params_mismatch``).
    """
    named: dict[str, Value] = {}
    given = named_params(params)
    used: set[str] = set()
    for node in list(tree.find_all(exp.Placeholder, exp.Parameter)):
        name = placeholder_name(node)
        if name not in given:
            raise StatementError("sql.params_mismatch", f"The placeholder {name[:40]} has no value.")
        used.add(name)
        named[BOUND_PREFIX + name] = given[name]
        node.replace(exp.Placeholder(this=BOUND_PREFIX + name))
    if left := sorted(set(given) - used):
        raise StatementError("sql.params_mismatch", f"The value {left[0][:40]} has no placeholder.")
    return named


def number_params(tree: exp.Expr, params: Mapping[str, Value]) -> dict[str, Value]:
    """Turns named placeholders into PostgreSQL's `$1`, `$2`, …; returns the values in that order."""
    order: dict[str, Value] = {}
    for node in list(tree.find_all(exp.Placeholder)):
        name = str(node.this)
        order.setdefault(name, params[name])
        number = list(order).index(name) + 1
        node.replace(exp.Parameter(this=exp.Literal.number(number)))
    return order


def placeholder_name(node: exp.Expr) -> str:
    """Returns the name of a placeholder, the number of one by position.

    Raises:
        StatementError: It has neither (``sql.construct_unsupported``).
    """
    this = node.this
    name = this.name if isinstance(this, exp.Expr) else str(this or "")
    if isinstance(node, exp.Parameter) and not name.isdigit():
        raise StatementError("sql.construct_unsupported", "This kind of placeholder is not supported.", hint="Use :name or $1.")
    return name.removeprefix(POSITION_PREFIX)


def _sequence(params: object) -> list[Value]:
    if isinstance(params, (list, tuple)):
        return cast("list[Value]", list(params))
    raise StatementError("sql.params_mismatch", "Parameters must be a mapping or a list.")
