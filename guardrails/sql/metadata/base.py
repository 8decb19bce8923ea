"""What of a schema can be read, as data: relations that the engine has for it, with the columns that the catalog answers truly.

A column that the catalog cannot answer is not here, so that asking for it is refused instead of answered with something invented.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from guardrails.model import Column, Declared, Relation

__all__ = ["Cell", "EngineSchema", "Entry", "Field", "FieldType", "SchemaRelation", "Seen", "of_columns", "of_relations"]

Cell: TypeAlias = str | int | None
FieldType: TypeAlias = Literal["name", "text", "number", "flag"]
"""How the engine types a column: identifiers, text, whole numbers, and YES or NO."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A relation as one principal sees it: `columns` are those that may be selected, in their order."""

    relation: Relation
    columns: tuple[Column, ...]

    @property
    def key(self) -> tuple[str, ...]:
        """The primary key; empty when a part of it is not seen."""
        names = {c.name for c in self.columns}
        return self.relation.primary_key if names.issuperset(self.relation.primary_key) else ()


@dataclass(frozen=True, slots=True)
class Entry:
    """What one row is about: a relation, or one of its columns, of which `position` counts the seen ones from 1."""

    seen: Seen
    column: Column = field(default_factory=lambda: Column(""))
    position: int = 0

    @property
    def relation(self) -> Relation:
        return self.seen.relation

    @property
    def declared(self) -> Declared:
        """How the schema spells the column, or what follows from its type where that is not known."""
        return self.column.declared or Declared(self.column.type, None, not self.column.is_nullable)

    @property
    def key_position(self) -> int:
        """The column's place in the primary key, from 1; 0 outside."""
        return self.seen.key.index(self.column.name) + 1 if self.column.name in self.seen.key else 0


@dataclass(frozen=True, slots=True)
class Field:
    """One column: what a row has there, or what the engine's `function` gives, the same for every row."""

    type: FieldType
    value: Callable[[Entry], Cell] = lambda _: None
    function: str | None = None


@dataclass(frozen=True, slots=True)
class SchemaRelation:
    """A relation that describes the schema.

    Args:
        fields: The columns by name, in the engine's order; ``{schema}`` and ``{pattern}`` in a name stand for the arguments.
        entries: What there is one row of.
        argument: For a function: the name that its first argument selects by. Its second names a schema, else it is the default one.
        is_pattern: The argument is a pattern of LIKE.
        is_strict: The argument must name a relation that is seen.
        is_distinct: Entries that say the same are one row.
    """

    fields: Mapping[str, Field]
    entries: Callable[[Seen], Iterator[Entry]]
    argument: Callable[[Entry], str] | None = None
    is_pattern: bool = False
    is_strict: bool = False
    is_distinct: bool = False


@dataclass(frozen=True, slots=True)
class EngineSchema:
    """What one engine has for reading its schema.

    Args:
        relations: By ``schema.name``, folded as the engine does.
        implicit_schema: Where a name without schema is looked for; None for the default schema.
        functions: Functions that stand in FROM, by name.
        statements: What only statements of their own give (such as DESCRIBE), by a name that no text can call.
    """

    relations: Mapping[str, SchemaRelation]
    implicit_schema: str | None = None
    functions: Mapping[str, SchemaRelation] = field(default_factory=dict)
    statements: Mapping[str, SchemaRelation] = field(default_factory=dict)


def of_relations(*kinds: str) -> Callable[[Seen], Iterator[Entry]]:
    """Returns what gives one row for every relation of some kinds."""

    def entries(seen: Seen) -> Iterator[Entry]:
        if seen.relation.kind in kinds:
            yield Entry(seen)

    return entries


def of_columns(*kinds: str) -> Callable[[Seen], Iterator[Entry]]:
    """Returns what gives one row for every column of the relations of some kinds."""

    def entries(seen: Seen) -> Iterator[Entry]:
        if seen.relation.kind in kinds:
            for position, column in enumerate(seen.columns, 1):
                yield Entry(seen, column, position)

    return entries
