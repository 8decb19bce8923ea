"""What differs between engines in the grammar, as data: types, literals, templates of expressions, and what statements may contain.

Templates have holes: `{int}` is an expression of that kind, `{bare_int}` one without parentheses around it, `{lit_int}` a literal,
`{one_int}` a scalar subquery, `{many_int}` a subquery of one column, `{exists}` any subquery, `{row}` a relation's alias as its row,
`{over}` a window, `{key}` one that is ordered by one numeric column, and `{counted}` a relation whose alias `oo` has `{counted_key}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from guardrails.proving.grammar.schema import Schema

__all__ = ["Flavour", "Templates", "quoted"]

Templates = Mapping[str, Sequence[str]]
"""By the kind of the value that they yield."""


@dataclass(frozen=True)
class Flavour:
    """One engine's side of the grammar.

    Args:
        name: The dialect as the library names it.
        types: The engine's type of each kind of column that it has.
        literals: Constants by kind; the first is the simplest.
        expressions: Templates of scalar expressions.
        aggregates: Templates of aggregate calls.
        windows: Templates of window calls.
        filters: What may follow an aggregate call, beside nothing.
        table_functions: (call, columns with their kinds); the call may have holes.
        joins: Kinds of joins with a condition.
        features: What else the engine has; see the places that ask.
        hostile: Expressions that write, escape or tell what no statement may.
        hostile_statements: Whole statements of that sort, and what is never run at all.
        quotes: Pairs of quotes for identifiers, the first the standard's.
        has_schemas: Relations of other schemas exist.
        schema: What statements may name.
        setup: DDL after tables and views.
    """

    name: str
    types: Mapping[str, str]
    literals: Templates
    expressions: Templates
    aggregates: Templates
    windows: Templates
    filters: Sequence[str]
    table_functions: Sequence[tuple[str, Mapping[str, str]]]
    joins: Sequence[str]
    features: frozenset[str]
    hostile: Templates = field(default_factory=dict)
    hostile_statements: Sequence[str] = ()
    quotes: Sequence[tuple[str, str]] = (('"', '"'),)
    has_schemas: bool = False
    schema: Schema = field(default_factory=Schema)
    setup: Sequence[str] = ()

    @property
    def kinds(self) -> list[str]:
        return list(self.types)

    def tables(self) -> Mapping[str, Mapping[str, str]]:
        """Returns the base tables."""
        return self.schema.tables

    def relations(self) -> dict[str, Mapping[str, str]]:
        """Returns tables and views."""
        return {**self.schema.tables, **self.schema.views}

    def spell(self, name: str) -> str:
        """Returns a relation's name as DDL writes it."""
        return ".".join(quoted(part, self) for part in name.split("."))


def quoted(name: str, flavour: Flavour) -> str:
    """Returns a name with quotes if it needs them, by any engine's rules."""
    if re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in flavour.schema.reserved:
        return name
    opening, closing = flavour.quotes[0]
    return f"{opening}{name}{closing}"
