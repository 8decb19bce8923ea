"""The schema that generated statements are valid for: relations by name with the kind of each column, and what a grammar needs of them.

Kinds are `int`, `text`, `num`, `date`, `ts`, `bool`, `json` and `arr`; a column of any other kind shows in `*` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Hierarchy", "Schema"]

Columns = Mapping[str, str]


@dataclass(frozen=True)
class Hierarchy:
    """A table whose rows point at rows of the same table: `parent` holds a `key`, `label` is a text beside it."""

    table: str
    key: str
    label: str
    parent: str


@dataclass(frozen=True)
class Schema:
    """What statements may name.

    Args:
        tables: Base tables by name (`schema.name` outside the default schema), with the kind of each column.
        views: Views and whatever else is read and not changed, likewise.
        keys: Primary keys by table.
        default_schema: What an unqualified name may be qualified with; empty: nothing.
        counted: A relation as SQL, whose rows may be counted anywhere.
        counted_key: A number of it as SQL, its alias being `oo`.
        cte_names: Names that common table expressions may take from relations, and others.
        hierarchy: A table that a recursive expression can climb, None where there is none.
        reserved: Names that need quotes though they look plain.
        ids: Columns in lower case that no change assigns on its own.
        fixed: The same for what is assigned only with care.
        favoured: Columns that are taken before others; `favoured_kinds` are theirs.
        favoured_kinds: See `favoured`.
    """

    tables: Mapping[str, Columns] = field(default_factory=dict)
    views: Mapping[str, Columns] = field(default_factory=dict)
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)
    default_schema: str = ""
    counted: str = "(SELECT 1)"
    counted_key: str = "1"
    cte_names: Sequence[str] = ("Picked",)
    hierarchy: Hierarchy | None = None
    reserved: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()
    favoured: frozenset[str] = frozenset()
    favoured_kinds: Sequence[str] = ()
