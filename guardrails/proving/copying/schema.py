"""What is known of a database's schema beyond the catalog: how to make it again, and what its constraints want of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Definition", "ForeignKey", "SourceSchema"]


@dataclass(frozen=True, slots=True)
class Definition:
    """One statement that makes a part of the schema, with the name that a report gives that part."""

    name: str
    sql: str


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Columns of a table that hold a key of a table, itself or another, by its relation key."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourceSchema:
    """A schema, read from a live database.

    Args:
        definitions: What makes it; what fails is tried again after the others, as one may need another.
        before_rows: What comes between the schema and its rows.
        afterwards: What follows once rows are in.
        foreign_keys: By relation key.
        literals: By relation key the texts and numbers that its definition names: what a CHECK may want.
        labels: By relation key and column the texts that its type allows.
        unfilled: Relation keys whose rows come by way of another relation, as those of a partition do.
        left_out: Name and reason of what is not copied.
    """

    definitions: tuple[Definition, ...]
    before_rows: tuple[Definition, ...] = ()
    afterwards: tuple[Definition, ...] = ()
    foreign_keys: Mapping[str, tuple[ForeignKey, ...]] = field(default_factory=dict)
    literals: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    unfilled: frozenset[str] = frozenset()
    left_out: tuple[tuple[str, str], ...] = ()
