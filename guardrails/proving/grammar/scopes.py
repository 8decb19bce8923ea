"""What a generated expression may name: sources of each query level with their columns by kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Reference", "Scope", "Source"]


@dataclass(frozen=True)
class Reference:
    """A way to name a column: `alias` is None where the bare name is enough; `is_row`: it may be a field of the alias's row."""

    alias: str | None
    column: str
    kind: str
    is_row: bool = False


@dataclass
class Source:
    """Something in FROM. `is_row` tells that its alias may stand for a whole row."""

    alias: str
    columns: dict[str, str]
    is_row: bool = True


@dataclass
class Scope:
    """One query level; `merged` are the columns of USING and NATURAL with the aliases that each merges."""

    parent: Scope | None = None
    sources: list[Source] = field(default_factory=list)
    merged: dict[str, frozenset[str]] = field(default_factory=dict)

    def child(self) -> Scope:
        return Scope(self)

    def references(self, kind: str, *, is_own: bool = False) -> list[Reference]:
        """Every valid way to name a column of the kind, of this level first."""
        return list(self._references(kind, is_own))

    def _references(self, kind: str, is_own: bool) -> Iterator[Reference]:
        level: Scope | None = self
        aliases: set[str] = set()
        names: set[str] = set()
        while level is not None:
            counts = level.counts()
            for source in level.sources:
                if source.alias.lower() in aliases:
                    continue
                for column, found in source.columns.items():
                    if found == kind:
                        yield Reference(source.alias, column, kind, source.is_row and source.alias.lower() not in counts)
                        if counts[column.lower()] == 1 and column.lower() not in names:
                            yield Reference(None, column, kind)
            for column in level.merged:
                if level.is_merged(column) and level.kind_of(column) == kind and column.lower() not in names:
                    yield Reference(None, column, kind)
            aliases |= {s.alias.lower() for s in level.sources}
            names |= set(counts)
            level = None if is_own else level.parent

    def is_merged(self, column: str) -> bool:
        """Whether the bare name stands for the merged column: no other source has it."""
        return column in self.merged and {s.alias for s in self.sources if column in s.columns} == self.merged[column]

    def kind_of(self, column: str) -> str:
        return next(s.columns[column] for s in self.sources if column in s.columns)

    def counts(self) -> dict[str, int]:
        """How many columns of this level have a bare name, by its folded form."""
        counts: dict[str, int] = {}
        for source in self.sources:
            for column in source.columns:
                counts[column.lower()] = counts.get(column.lower(), 0) + 1
        return counts

    def row_aliases(self) -> list[str]:
        """Aliases that stand for a whole row: no column of the level or around it has the name."""
        names = {c.lower() for s in self.sources for c in s.columns}
        return [s.alias for s in self.sources if s.is_row and s.alias.lower() not in names]
