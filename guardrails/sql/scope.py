"""Names in scope: which relation a column name means, by the engines' own rules.

The resolver writes its answer into the tree (each column gets its relation's alias), so the engine can only agree with it or fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import ColumnRef

__all__ = ["Clause", "Cte", "Lineage", "Output", "Scope", "Source", "StarColumn"]

Lineage = frozenset[ColumnRef]
Clause = Literal["filtered", "joined", "grouped", "ordered"]
"""What a column is used for beside being returned."""


@dataclass(frozen=True, slots=True)
class Output:
    """A column that a query yields: its name as spelled, and the base columns its value derives from."""

    name: str
    lineage: Lineage


@dataclass(slots=True)
class Source:
    """Something in FROM: `columns` by folded name in order; `relation` is the key of a catalog relation, None for anything else.

    `duplicates` are names of several columns; `hidden` are names that `*` does not show, as they are other names of columns.
    """

    alias: str
    columns: dict[str, Output]
    relation: str | None = None
    duplicates: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()

    @property
    def shown(self) -> dict[str, Output]:
        return {key: output for key, output in self.columns.items() if key not in self.hidden}

    @property
    def lineage(self) -> Lineage:
        return frozenset().union(*(c.lineage for c in self.columns.values())) if self.columns else frozenset()


@dataclass(frozen=True, slots=True)
class StarColumn:
    """One column of `*`: `alias` is None for a column merged by USING or NATURAL."""

    alias: str | None
    key: str
    output: Output


@dataclass(slots=True)
class Scope:
    """One query level.

    `merged` maps a USING column to the aliases that it merges, `full_merged` are those of a FULL JOIN; `names` are output aliases
    where they count; `owners` tells which alias holds a merged column's value, where that is sure; `conditions` are join conditions
    that wait for the whole FROM; `join_conditions` and `links` tell which sources
    are related, and by what; `late_names` may not be columns of this level.
    """

    parent: Scope | None = None
    ctes: Mapping[str, Cte] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    merged: dict[str, set[str]] = field(default_factory=dict)
    full_merged: set[str] = field(default_factory=set)
    owners: dict[str, str] = field(default_factory=dict)
    late_names: set[str] = field(default_factory=set)
    star: list[StarColumn] = field(default_factory=list)
    names: dict[str, Lineage] = field(default_factory=dict)
    are_names_visible: bool = False
    are_names_alone: bool = False  # An output name that a column around the query has too is refused.
    are_names_mixed: bool = False  # An output name and a column may be the same word; which is meant is the engine's business.
    conditions: list[exp.Expr] = field(default_factory=list)
    join_conditions: list[exp.Expr] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    nested: set[str] = field(default_factory=set)  # Aliases of joins in parentheses that the engine makes a query of.

    def add(self, source: Source) -> None:
        """Adds a source at the end of FROM.

        Raises:
            StatementError: The alias is taken.
        """
        if source.alias in self.sources:
            raise StatementError("sql.column_ambiguous", f"The name {source.alias} stands for two relations.")
        self.sources[source.alias] = source
        self.star += [StarColumn(source.alias, key, output) for key, output in source.shown.items()]

    def absorb(self, inner: Scope) -> None:
        """Adds the sources of a join in parentheses, whose conditions have seen nothing but each other.

        Raises:
            StatementError: An alias is taken, or a merged column has the name of another one.
        """
        taken = inner.sources.keys() & self.sources.keys()
        if taken or inner.merged.keys() & self.merged.keys():
            raise StatementError("sql.column_ambiguous", f"The name {min(taken or inner.merged)} stands for two relations.")
        self.sources |= inner.sources
        self.star += inner.star
        self.merged |= inner.merged
        self.full_merged |= inner.full_merged
        self.owners |= inner.owners
        self.late_names |= inner.late_names
        self.join_conditions += inner.join_conditions
        self.links += inner.links
        self.nested |= inner.nested

    def merge(self, key: str, right: str, position: int | None) -> None:
        """Merges the column `key` of the source `right` into the one to its left (USING).

        Args:
            key: The column.
            right: The alias of the source.
            position: Where `*` shows it, None for the place of the left column.

        Raises:
            StatementError: Not exactly one column of that name stands to the left.
        """
        left = [c for c in self.star if c.key == key and c.alias != right]
        if len(left) != 1 or key not in self.sources[right].columns:
            raise StatementError("sql.column_unknown", f"USING names {key}, which is not one column of each side.")
        old = left[0]
        lineage = old.output.lineage | self.sources[right].columns[key].lineage
        new = StarColumn(None, key, Output(old.output.name, lineage))
        self.merged.setdefault(key, {old.alias} if old.alias else set()).add(right)
        rest = [c for c in self.star if not (c.key == key and c.alias == right)]
        if position is not None:
            rest.remove(old)
            rest.insert(position, new)
        else:
            rest[rest.index(old)] = new
        self.star = rest

    def require_alone(self, key: str) -> None:
        """Checks that an output name is no column around the query, where engines differ about which of the two is meant.

        Raises:
            StatementError: It is one.
        """
        if self.parent is not None and self.parent.find_column(key) is not None:
            raise StatementError("sql.column_ambiguous", f"{key} is a result column here and a column around the query.")

    def put_first(self, right: str, merged: int) -> None:
        """Lets `*` show the other columns of the source `right` before those to its left, behind so many merged ones."""
        rest = self.star[merged:]
        own = [c for c in rest if c.alias == right]
        self.star = [*self.star[:merged], *own, *(c for c in rest if c.alias != right)]

    def levels(self) -> Iterator[Scope]:
        """Yields this scope and the ones around it, innermost first."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def find_source(self, alias: str) -> Source | None:
        """Returns the innermost source of that alias."""
        return next((s.sources[alias] for s in self.levels() if alias in s.sources), None)

    def find_column(self, key: str) -> tuple[str | None, Lineage] | None:
        """Resolves an unqualified name.

        Returns:
            The alias that qualifies it (None when it must stay unqualified: a merged column or an output name) and its base columns;
            None when nothing has that name.

        Raises:
            StatementError: Several sources of one level have it.
        """
        for scope in self.levels():
            hits = [s for s in scope.sources.values() if key in s.columns]
            if scope.are_names_mixed and key in scope.names:
                around = scope.parent.find_column(key) if scope.parent is not None and not hits else None
                return None, scope.names[key].union(*(s.columns[key].lineage for s in hits), around[1] if around else ())
            merged = scope.merged.get(key, set())
            others = [s for s in hits if s.alias not in merged]
            if len(others) + bool(merged) > 1 or any(key in s.duplicates for s in hits):
                raise StatementError("sql.column_ambiguous", f"The column {key} fits several relations.")
            if merged:
                return scope.owners.get(key), frozenset().union(*(scope.sources[a].columns[key].lineage for a in merged))
            if others:
                return others[0].alias, others[0].columns[key].lineage
            if scope.are_names_visible and key in scope.names:
                if scope.are_names_alone:
                    scope.require_alone(key)
                return None, scope.names[key]
        return None


@dataclass(frozen=True, slots=True)
class Cte:
    """A common table expression: the fresh name it goes by in the regenerated text, and its columns."""

    fresh_name: str
    columns: tuple[Output, ...]
