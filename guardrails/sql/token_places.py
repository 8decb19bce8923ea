"""Tokens that a change would store: found where a value stands for itself, and taken out of the statement as bound values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from guardrails.model import Catalog, ColumnRef, Value
from guardrails.sql.params import BOUND_PREFIX, named_params, placeholder_name, texts_in
from guardrails.sql.resolve import Resolved
from guardrails.sql.sources import relation_of

__all__ = ["TokenPlace", "remaining_texts", "take_tokens"]

_NAME = "gr_token_"


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """A token that stands for the value of a column in a change; `name` is that of the parameter which the plan binds for it."""

    name: str
    column: ColumnRef
    token: str


def take_tokens(
    resolved: Resolved, catalog: Catalog, is_token: Callable[[ColumnRef, str], bool]
) -> tuple[Resolved, tuple[TokenPlace, ...]]:
    """Makes a parameter of its own of every token that is a whole value in INSERT … VALUES or in `SET column = value`.

    Args:
        resolved: A change.
        catalog: The schema that it was resolved against.
        is_token: Whether a text is a token that may be stored in a column.

    Returns:
        The change with those parameters, and the places. Tokens elsewhere, in expressions for instance, stay as they are.
    """
    tree, params = resolved.tree.copy(), dict(named_params(resolved.statement.params))
    if resolved.explain is not None or any(name.startswith(_NAME) for name in params):
        return resolved, ()
    places: list[TokenPlace] = []
    for column, node in list(_values(tree, catalog)):
        text = _text(node, params)
        if text is not None and is_token(column, text):
            name = f"{_NAME}{len(places)}"
            node.replace(exp.Placeholder(this=name))
            places.append(TokenPlace(BOUND_PREFIX + name, column, text))
    if not places:
        return resolved, ()
    used = {placeholder_name(node) for node in tree.find_all(exp.Placeholder, exp.Parameter)}
    before = {placeholder_name(node) for node in resolved.tree.find_all(exp.Placeholder, exp.Parameter)}
    left: dict[str, Value] = {name: value for name, value in params.items() if name in used or name not in before}
    left |= {place.name.removeprefix(BOUND_PREFIX): place.token for place in places}
    return replace(resolved, tree=tree, statement=replace(resolved.statement, params=left)), tuple(places)


def remaining_texts(resolved: Resolved, places: Iterable[TokenPlace]) -> Iterator[str]:
    """Yields every text that a change brings along besides the tokens that were taken out of it."""
    taken = {place.name.removeprefix(BOUND_PREFIX) for place in places}
    params = named_params(resolved.statement.params)
    yield from texts_in(resolved.tree, {name: value for name, value in params.items() if name not in taken})


def _values(tree: exp.Expr, catalog: Catalog) -> Iterator[tuple[ColumnRef, exp.Expr]]:
    """Yields every value that is assigned as it stands, with its column."""
    for node in tree.find_all(exp.Insert, exp.Update):
        schema = node.this
        key = relation_of(schema.this if isinstance(schema, exp.Schema) else schema) if schema is not None else None
        if key is None:
            continue
        if isinstance(node, exp.Update):
            for item in node.expressions:
                if isinstance(item, exp.EQ) and isinstance(item.this, exp.Column):
                    yield ColumnRef(key, item.this.name), item.expression
            continue
        named = [i.name for i in schema.expressions] if isinstance(schema, exp.Schema) else catalog.relations[key].column_names
        values = node.args.get("expression")
        rows = values.expressions if isinstance(values, exp.Values) and not node.args.get("by_name") else []
        for row in rows:
            if isinstance(row, exp.Tuple) and len(row.expressions) == len(named):
                yield from ((ColumnRef(key, name), value) for name, value in zip(named, row.expressions, strict=True))


def _text(node: exp.Expr, params: Mapping[str, Value]) -> str | None:
    if isinstance(node, exp.Literal):
        return str(node.this) if node.is_string else None
    if isinstance(node, (exp.Placeholder, exp.Parameter)):
        value = params.get(placeholder_name(node))
        return value if isinstance(value, str) else None
    return None
