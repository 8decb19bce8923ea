"""What the outcome of a change tells of stored values and rows, by failing or by changing more rows: through keys and constraints.

A unique key tells whether a value is there, a foreign key whether a row is there that it refers to or is referred to by, a CHECK and a
generated column how the columns that a change leaves alone compare with those that it assigns (SQL:2016, 4.18, integrity constraints).
Nothing here knows of policies: whether somebody may be told is decided in `guardrails.policy.tells`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from guardrails.model import Action, Catalog, Column, Constraint, Probe, Relation

__all__ = ["Change", "probes_of"]

_FREE_DEFAULT = re.compile(
    r"\(*\s*(null\b.*|nextval\s*\(.*|(pg_catalog\.)?(gen_random_uuid|uuid|uuid_generate_v4)\s*\(\s*\))\s*\)*", re.DOTALL
)
"""Defaults that meet no stored value: NULL, the next number of a sequence, a random identifier."""
_SCALAR = re.compile(
    r"(u?(tiny|small|big|huge)int|u?integer|float|double|decimal|varchar|boolean|date|time|timestamp\w*|interval|uuid|blob|enum)"
    r"( with time zone)?(\([^)]*\))?"
)
"""DuckDB's types whose values it changes in their place."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change inside a statement.

    Args:
        relation: Key of its target.
        action: `insert`, `update`, `delete`, `truncate` or `drop`.
        columns: The columns that it gives values for.
    """

    relation: str
    action: Action
    columns: frozenset[str] = frozenset()


def probes_of(changes: Iterable[Change], catalog: Catalog) -> frozenset[Probe]:
    """Returns what the outcome of changes tells of.

    Args:
        changes: Every change of the statement.
        catalog: The schema with its constraints.
    """
    prober = _Prober(catalog)
    for change in changes:
        match change.action:
            case "insert":
                prober.insert(change.relation, change.columns)
            case "update":
                prober.update(change.relation, change.columns)
            case "delete" | "truncate" | "drop":
                prober.delete(change.relation)
    return frozenset(prober.found)


@dataclass(slots=True)
class _Prober:
    catalog: Catalog
    found: set[Probe] = field(default_factory=set)
    _seen: set[Change] = field(default_factory=set)
    _children: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, relation in self.catalog.relations.items():
            for parent in relation.parents:
                self._children.setdefault(parent, []).append(key)

    def insert(self, key: str, given: frozenset[str]) -> None:
        """A new row meets stored ones in unique keys and foreign keys; all other constraints see what the change itself gives."""
        for place, relation in self._below(key):
            present = _computed(relation, given | {c.name for c in relation.columns if self._has_default(c)})
            for constraint in relation.constraints:
                is_checked = not constraint.is_plain or present.issuperset(constraint.columns)
                if constraint.kind == "foreign" and present.issuperset(constraint.columns):
                    self._refers(place, relation, constraint, frozenset(constraint.columns))
                elif constraint.kind in ("unique", "exclude") and is_checked:
                    self._collides(place, relation, constraint, is_equality=constraint.is_plain)

    def update(self, key: str, assigned: frozenset[str]) -> None:
        if not self._is_new(Change(key, "update", assigned)):
            return
        for place, relation in self._below(key):
            changed = _computed(relation, assigned)
            for constraint in relation.constraints:
                used = _bases(relation, constraint.columns)
                if constraint.kind in ("check", "trigger") and (constraint.is_always or changed & used):
                    self._add(place, used - assigned)
                elif constraint.kind == "foreign" and changed & used:
                    self._refers(place, relation, constraint, assigned)
                elif constraint.kind in ("unique", "exclude") and changed & used:
                    is_equality = constraint.is_plain and assigned.issuperset(constraint.columns)
                    self._collides(place, relation, constraint, is_equality=is_equality)
            for column in relation.columns:
                if column.name in changed - assigned:
                    self._add(place, _bases(relation, (column.name,)) - assigned - {column.name})
            if changed & set(relation.stored_by):
                self._add(place, _bases(relation, relation.stored_by) - assigned)
            if self._moves_rows(relation, changed):
                self._left(place, None)
        self._left(key, assigned)

    def delete(self, key: str) -> None:
        if self._is_new(Change(key, "delete")):
            self._left(key, None)

    def _left(self, key: str, assigned: frozenset[str] | None) -> None:
        """Rows cease to be what foreign keys refer to: all of them, or in the columns that are assigned."""
        places = {place for place, _ in self._below(key)} | self._above(key)
        for child, relation in self.catalog.relations.items():
            for constraint in relation.constraints:
                if constraint.kind != "foreign" or constraint.refers_to not in places:
                    continue
                target = self.catalog.relations.get(constraint.refers_to)
                if target is None:
                    continue
                referred = _bases(target, constraint.referred)
                if assigned is not None and not _computed(target, assigned) & referred:
                    continue
                self._add(constraint.refers_to, referred)
                self._add(child, _bases(relation, constraint.columns), is_equality=True)
                self.found.add(Probe(child))
                action = constraint.on_delete if assigned is None else constraint.on_update
                if action == "cascade" and assigned is None:
                    self.delete(child)
                elif action:
                    self.update(child, frozenset(constraint.columns))

    def _refers(self, place: str, relation: Relation, constraint: Constraint, given: frozenset[str]) -> None:
        self._add(place, _bases(relation, constraint.columns) - given)
        target = self.catalog.relations.get(constraint.refers_to)
        if target is not None:
            is_equality = given.issuperset(constraint.columns)
            self._add(constraint.refers_to, _bases(target, constraint.referred), is_equality=is_equality)
            self.found.add(Probe(constraint.refers_to))

    def _collides(self, place: str, relation: Relation, constraint: Constraint, *, is_equality: bool) -> None:
        self._add(place, _bases(relation, constraint.columns), is_equality=is_equality)
        self.found.add(Probe(place))

    def _add(self, place: str, columns: Iterable[str], *, is_equality: bool = False) -> None:
        self.found |= {Probe(place, column, is_equality) for column in columns}

    def _is_new(self, change: Change) -> bool:
        is_new = change not in self._seen
        self._seen.add(change)
        return is_new

    def _has_default(self, column: Column) -> bool:
        """Whether a row that leaves the column out gets a value there that may be stored already."""
        if column.declared is None:
            return True
        default = column.declared.default
        if default is not None:
            return _FREE_DEFAULT.fullmatch(default.strip().lower()) is None
        # MySQL without its strict mode puts the type's own default there.
        is_implicit = self.catalog.dialect == "mysql" and column.declared.is_not_null
        return is_implicit and "auto_increment" not in column.declared.extra.lower()

    def _moves_rows(self, relation: Relation, changed: frozenset[str]) -> bool:
        """DuckDB deletes and inserts a row to change what is in an index or is nested, and foreign keys see both.

        The columns of every CHECK over several are written as well. Measured on DuckDB 2.0.
        """
        if self.catalog.dialect != "duckdb":
            return False
        written = changed.union(*(c.columns for c in relation.constraints if c.kind == "check" and len(c.columns) > 1))
        nested = {c.name for c in relation.columns if _SCALAR.fullmatch(c.type) is None}
        return bool(written & (relation.indexed_columns | nested))

    def _below(self, key: str) -> Iterator[tuple[str, Relation]]:
        """The relation and all that inherit from it, where its rows are kept and their constraints hold."""
        for place in sorted(_closure([key], lambda k: self._children.get(k, ()))):
            if place in self.catalog.relations:
                yield place, self.catalog.relations[place]

    def _above(self, key: str) -> set[str]:
        relations = self.catalog.relations
        return _closure([key], lambda k: relations[k].parents if k in relations else ())


def _computed(relation: Relation, columns: Iterable[str]) -> frozenset[str]:
    """The columns, and the generated ones that are computed from them."""
    users: dict[str, list[str]] = {}
    for column in relation.columns:
        for used in column.computed_from:
            users.setdefault(used, []).append(column.name)
    return frozenset(_closure(columns, lambda name: users.get(name, ())))


def _bases(relation: Relation, columns: Iterable[str]) -> frozenset[str]:
    """The columns, and those that the generated ones among them are computed from."""
    used = {c.name: c.computed_from for c in relation.columns}
    return frozenset(_closure(columns, lambda name: used.get(name, ())))


def _closure(start: Iterable[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            waiting.extend(following(key))
    return found
