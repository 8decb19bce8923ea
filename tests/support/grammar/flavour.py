"""What differs between engines in the grammar, as data: types, literals, templates of expressions, and what statements may contain.

Templates have holes: `{int}` is an expression of that kind, `{bare_int}` one without parentheses around it, `{lit_int}` a literal,
`{one_int}` a scalar subquery, `{many_int}` a subquery of one column, `{exists}` any subquery, `{row}` a relation's alias as its row,
`{over}` a window and `{key}` one that is ordered by one numeric column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.support.grammar.schema import KEYS, TABLES, VIEW_COLUMNS, VIEWS

__all__ = ["Flavour", "Templates", "quoted"]

Templates = Mapping[str, Sequence[str]]
"""By the kind of the value that they yield."""


@dataclass(frozen=True)
class Flavour:
    """One engine's side of the grammar.

    Args:
        name: The dialect as the library names it.
        types: The engine's type of each kind of column; a kind that is missing takes its columns out of the schema.
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
    setup: Sequence[str] = ()

    @property
    def kinds(self) -> list[str]:
        return list(self.types)

    def tables(self) -> dict[str, dict[str, str]]:
        """Returns the base tables that the engine can have, with the columns whose kind it knows."""
        return {
            name: {c: k for c, k in columns.items() if k in self.types}
            for name, columns in TABLES.items()
            if self.has_schemas or "." not in name
        }

    def relations(self) -> dict[str, dict[str, str]]:
        """Returns tables and views."""
        return self.tables() | {name: dict(columns) for name, columns in VIEW_COLUMNS.items()}

    def spell(self, name: str) -> str:
        """Returns a relation's name as DDL writes it."""
        return ".".join(quoted(part, self) for part in name.split("."))

    def ddl(self) -> list[str]:
        """Returns the statements that make the schema, in order."""
        made = []
        for table, columns in self.tables().items():
            parts = [f"{quoted(c, self)} {self.types[k]}" for c, k in columns.items()]
            if table in KEYS:
                parts.append(f"PRIMARY KEY ({', '.join(quoted(c, self) for c in KEYS[table])})")
            if table == "orders":
                parts.append("FOREIGN KEY (customer_id) REFERENCES customers (id)")
            is_split = table == "events" and "partitions" in self.features
            made.append(
                f"CREATE TABLE {self.spell(table)} ({', '.join(parts)}){' PARTITION BY RANGE (at)' if is_split else ''}"
            )
        for view, definition in VIEWS.items():
            text = definition.replace('"', self.quotes[0][0])
            made.append(f"CREATE VIEW {self.spell(view)} AS {text}")
        return [*(["CREATE SCHEMA sales"] if self.has_schemas else []), *made, *self.setup]


def quoted(name: str, flavour: Flavour) -> str:
    """Returns a name with quotes if it needs them, by any engine's rules."""
    if re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in ("order", "at", "year", "kind"):
        return name
    opening, closing = flavour.quotes[0]
    return f"{opening}{name}{closing}"
