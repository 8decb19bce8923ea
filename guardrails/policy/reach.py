"""Through which relations and columns protected data can be seen: along inheritance and partitions, and in generated columns.

Rows of a child are rows of its parents. So what protects a relation holds for every relation that shares rows with it: its children,
whose rows are its own, and its parents, through which its rows come (PostgreSQL, "Inheritance": a query of a parent reads its
children). A column of that name is the same column in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from guardrails.model import Catalog, ColumnRef, Relation

__all__ = ["Reach"]


@dataclass(frozen=True, slots=True)
class Reach:
    """Answers for one catalog; what was asked once is kept."""

    catalog: Catalog
    _children: dict[str, list[str]] = field(default_factory=dict)
    _kin: dict[str, frozenset[str]] = field(default_factory=dict)
    _computed: dict[str, Mapping[str, frozenset[ColumnRef]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, relation in self.catalog.relations.items():
            for parent in relation.parents:
                self._children.setdefault(parent, []).append(key)

    def kin(self, relation: str) -> frozenset[str]:
        """Returns every relation that shares rows with one, which is among them."""
        if relation not in self._kin:
            self._kin[relation] = frozenset(self._above(self._below([relation])))
        return self._kin[relation]

    def is_within(self, relation: str, other: str) -> bool:
        """Whether every row of a relation is a row of the other: it is that one, or inherits from it."""
        return other in self._above([relation])

    def shows(self, relation: str, column: ColumnRef) -> bool:
        """Whether the relation has the column, with values that the column's own relation has as well."""
        if relation == column.relation:
            return True
        return column.relation in self.kin(relation) and column.column in self._names(relation)

    def computed(self, relation: str, column: ColumnRef) -> tuple[str, ...]:
        """Returns the generated columns of a relation whose values are computed from values of a column, directly or not."""
        if relation not in self._computed:
            self._computed[relation] = self._sources(relation)
        return tuple(name for name, sources in self._computed[relation].items() if column in sources)

    def touches(self, relation: str, columns: frozenset[ColumnRef], wanted: Iterable[ColumnRef]) -> bool:
        """Whether what is used of a relation shows values of one of the wanted columns."""
        names = {c.column for c in columns if c.relation == relation}
        return any(
            (w.column in names and self.shows(relation, w)) or names.intersection(self.computed(relation, w)) for w in wanted
        )

    def _sources(self, relation: str) -> Mapping[str, frozenset[ColumnRef]]:
        """By generated column the columns that it is computed from, by every name that the same values have."""
        found: dict[str, set[ColumnRef]] = {}
        own = self._names(relation)
        for key in self._below([relation]):
            holder = self.catalog.relations.get(key)
            generated = [c.name for c in holder.columns if c.computed_from and c.name in own] if holder is not None else []
            if holder is None or not generated:
                continue
            others = self._above([key])
            for name in generated:
                used = _bases(holder, name)
                found.setdefault(name, set()).update(ColumnRef(o, u) for o in others for u in used if u in self._names(o))
        return {name: frozenset(sources) for name, sources in found.items()}

    def _names(self, relation: str) -> frozenset[str]:
        known = self.catalog.relations.get(relation)
        return frozenset(known.column_names) if known is not None else frozenset()

    def _below(self, keys: Iterable[str]) -> set[str]:
        return _closure(keys, lambda key: self._children.get(key, ()))

    def _above(self, keys: Iterable[str]) -> set[str]:
        relations = self.catalog.relations
        return _closure(keys, lambda key: relations[key].parents if key in relations else ())


def _bases(relation: Relation, column: str) -> set[str]:
    """Every column that a generated one is computed from; one may be computed from another."""
    used = {c.name: c.computed_from for c in relation.columns}
    return _closure(used.get(column, ()), lambda name: used.get(name, ()))


def _closure(start: Iterable[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            waiting.extend(following(key))
    return found
