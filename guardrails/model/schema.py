"""What exists in a database: relations, columns, constraints, and what the guard itself set up there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from guardrails.model.values import Action, ConstraintKind, DialectName, RelationKind

__all__ = ["Catalog", "Column", "ColumnRef", "Constraint", "Declared", "PlacedColumn", "PlacedView", "Relation"]


@dataclass(frozen=True, slots=True)
class Declared:
    """How the schema itself spells a column, for statements that read the schema; nothing is decided by it.

    Args:
        type: The type's text as the engine gives it, with its capitals; of a domain the type that it is based on.
        default: The default's SQL as the engine gives it, None without one.
        is_not_null: Whether NOT NULL is declared; a key may exclude NULL without it.
        generated: How its value is computed from other columns: on reading (`virtual`), on writing (`stored`), or not at all (empty).
        key: The index that it leads, in MySQL's words (`PRI`, `UNI`, `MUL`); empty without one, and for engines without such words.
        extra: What else the engine says of it, such as `auto_increment`.
    """

    type: str = ""
    default: str | None = None
    is_not_null: bool = False
    generated: Literal["", "virtual", "stored"] = ""
    key: str = ""
    extra: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a relation.

    Args:
        name: Its name.
        type: The engine's own type text in lower case.
        is_nullable: Whether it may hold NULL.
        declared: How the schema spells it; None where nobody asked the engine.
        computed_from: Of a generated column the columns of its relation that its expression names.
        has_user_code: Code of users runs when a value of its type is converted, compared or written.
    """

    name: str
    type: str = ""
    is_nullable: bool = True
    declared: Declared | None = field(default=None, compare=False)
    computed_from: tuple[str, ...] = ()
    has_user_code: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Constraint:
    """What a change of a relation may fail by, because of what is stored.

    Args:
        kind: `unique` for keys and unique indexes, `exclude` for PostgreSQL's exclusion constraints, `check` for conditions over one
            row, `foreign` for foreign keys, `trigger` for triggers that look at the row that is changed.
        columns: Every column that it looks at, in expressions and conditions too; of a foreign key in its order, else sorted.
        is_plain: Of a unique one: it compares these columns as they are, and NULL equals nothing.
        is_always: Of a check or a trigger: every UPDATE runs into it, whatever it assigns.
        refers_to: Of a foreign key the relation that it refers to, by key.
        referred: The columns there, in the order of `columns`.
        on_delete: What a DELETE there does to rows here: nothing but fail (empty), `cascade`, or `set` the columns.
        on_update: The same of an UPDATE of the columns there.
    """

    kind: ConstraintKind
    columns: tuple[str, ...]
    is_plain: bool = False
    is_always: bool = False
    refers_to: str = ""
    referred: tuple[str, ...] = ()
    on_delete: str = ""
    on_update: str = ""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view of the catalog.

    Args:
        schema: Its schema.
        name: Its name.
        kind: What it is.
        columns: In order.
        primary_key: Names of the key's columns, in the key's order.
        indexed_columns: Columns in any index.
        definition: A view's SELECT.
        indexes: Each index with its columns: by name where the engine can be told to leave one alone, or how it may be read.
        stored_by: Columns in whose order the rows are stored, where that is another order than the primary key's; of a partitioned
            table and its partitions the columns that decide about a row's partition.
        parents: Keys of the relations that its rows are rows of as well: of a partition the partitioned table, of an inheritance
            child what it inherits from.
        effects: What a change sets off beyond itself, where that is not known to be harmless: the action, and whether it is a
            `trigger`, a `rule` or a `check`. Changes that go on to other relations bring theirs along.
        constraints: What a change may fail by, sorted.
    """

    schema: str
    name: str
    kind: RelationKind
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    indexed_columns: frozenset[str] = frozenset()
    definition: str | None = None
    indexes: tuple[tuple[str, frozenset[str]], ...] = ()
    stored_by: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    effects: tuple[tuple[Action, str], ...] = ()
    constraints: tuple[Constraint, ...] = ()

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)


@dataclass(frozen=True, slots=True)
class PlacedView:
    """A relation in the guard's own schema as the engine describes it. Nothing says yet that it is what the guard made.

    Args:
        name: Its name.
        base: Schema and name of the one relation that it reads; empty where it reads several.
        columns: Name and type of each, in order.
        definition: Its query, as the engine writes it.
        stored: A digest of the engine's own stored form of it.
        owner: The role whose rights it reads with.
        is_plain: It is a view with a security barrier, and nothing else was set or hung on it.
        is_readable: The guard's role and its owner may read the base relation, which has no row-level security, and the role the view.
        comment: What is written on it.
    """

    name: str
    base: tuple[str, str] | tuple[()]
    columns: tuple[tuple[str, str], ...]
    definition: str
    stored: str
    owner: str
    is_plain: bool
    is_readable: bool
    comment: str


@dataclass(frozen=True, slots=True)
class PlacedColumn:
    """A column whose name is reserved for the guard, as the engine describes it. Nothing says yet that the guard made it.

    Args:
        base: Schema and name of its relation.
        name: Its name.
        type: Its type.
        definition: The expression that it is generated from, as the engine writes it.
        stored: A digest of the engine's own stored form of it.
        is_plain: It is generated and stored, in a table that shares rows with no other.
        comment: What is written on it.
    """

    base: tuple[str, str]
    name: str
    type: str
    definition: str
    stored: str
    is_plain: bool
    comment: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """What exists in one database, as names that the resolver looks up.

    Args:
        dialect: The engine that it describes.
        default_schema: The schema that an unqualified name means (`main` in SQLite, usually `public` in PostgreSQL).
        relations: By relation key.
        version: A digest of the schema; a different schema has a different version.
        effects: As of a relation, of statements whatever they name; the action `*` is every one.
        placed: What stands in the guard's own schema, which is none of the relations.
        placed_columns: Columns with the guard's own names, which are none of the relations' columns.
    """

    dialect: DialectName
    default_schema: str
    relations: Mapping[str, Relation]
    version: str = ""
    effects: tuple[tuple[Action, str], ...] = ()
    placed: tuple[PlacedView, ...] = ()
    placed_columns: tuple[PlacedColumn, ...] = ()

    def key(self, schema: str | None, name: str) -> str:
        """Returns the relation key for a schema (None for the default) and a name."""
        return name if schema is None or schema == self.default_schema else f"{schema}.{name}"


@dataclass(frozen=True, slots=True, order=True)
class ColumnRef:
    """A column of a relation in the catalog, by relation key and column name."""

    relation: str
    column: str

    def __str__(self) -> str:
        return f"{self.relation}.{self.column}"
