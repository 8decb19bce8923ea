"""Filling twins: the same generated rows in each, but for protected values, in the order in which foreign keys need them.

The database decides what fits: a row goes into every twin or into none, and is tried again with other values when one refuses it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from guardrails.model import Catalog, Column, ColumnRef, Relation
from guardrails.proving.copying import ForeignKey, Scratch, SourceSchema
from guardrails.proving.protection import KEPT_EQUAL, Protection, is_independent
from guardrails.proving.values import ColumnValues, column_values

__all__ = ["Filled", "fill"]

_ATTEMPTS = 24
_HOPELESS = 3
_EQUAL_FROM = 16
"""The attempt from which protected values are the same in the twins, as constraints may want something of them."""
Row = dict[str, object]


@dataclass
class Filled:
    """What the twins hold: rows of the first and second twin by relation key, and what could not be made to differ.

    Args:
        first: Rows of the first twin.
        second: The same rows of the second.
        kept_equal: Protected columns whose values are the same in both, with the reason.
        refused: Tables that got no rows, with what the database said.
    """

    first: dict[str, list[Row]] = field(default_factory=dict)
    second: dict[str, list[Row]] = field(default_factory=dict)
    kept_equal: dict[ColumnRef, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def differing(self, ref: ColumnRef) -> int:
        """In how many rows a column differs."""
        rows = zip(self.first.get(ref.relation, ()), self.second.get(ref.relation, ()), strict=True)
        return sum(a.get(ref.column) != b.get(ref.column) for a, b in rows)


def fill(
    twins: Sequence[Scratch],
    catalog: Catalog,
    schema: SourceSchema,
    protection: Protection,
    key: bytes,
    *,
    count: int,
    seed: int,
) -> Filled:
    """Fills empty twins.

    Args:
        twins: The first; the second; more are filled as the first.
        catalog: The catalog of the first.
        schema: What constraints want.
        protection: What may differ, and how.
        key: The mask key under which values have to show alike.
        count: Rows a table.
        seed: Decides about every value.
    """
    filler = _Filler(twins, catalog, schema, protection, key, count, random.Random(seed))
    for name in _ordered(catalog, schema):
        filler.fill_table(name)
    filler.note_equal()
    return filler.filled


def _ordered(catalog: Catalog, schema: SourceSchema) -> Iterator[str]:
    """Yields the tables that take rows, those that others refer to first."""
    waiting = [k for k, r in catalog.relations.items() if r.kind == "table" and k not in schema.unfilled]
    done: set[str] = set()
    while waiting:
        ready = [k for k in waiting if all(f.parent in done or f.parent == k for f in schema.foreign_keys.get(k, ()))]
        for name in ready or waiting[:1]:
            done.add(name)
            waiting.remove(name)
            yield name


@dataclass
class _Filler:
    twins: Sequence[Scratch]
    catalog: Catalog
    schema: SourceSchema
    protection: Protection
    key: bytes
    count: int
    source: random.Random
    filled: Filled = field(default_factory=Filled)

    def fill_table(self, name: str) -> None:
        relation = self.catalog.relations[name]
        makers = self._makers(name, relation)
        first, second = self.filled.first.setdefault(name, []), self.filled.second.setdefault(name, [])
        if not makers:
            return
        failures = 0
        for number in range(self.count):
            reason = ""
            for attempt in range(_ATTEMPTS):
                one, two = self._rows(name, makers, number, attempt)
                refusal = self._insert(relation, one, two)
                if refusal is None:
                    first.append(one)
                    second.append(two)
                    break
                reason = refusal
            else:
                failures += 1
                if failures >= _HOPELESS:
                    if not first:
                        self.filled.refused[name] = reason
                    return

    def note_equal(self) -> None:
        """Says of every protected column that is the same in both twins why it is."""
        for ref, mask in self.protection.masks.items():
            rows = self.filled.first.get(ref.relation)
            if ref in self.filled.kept_equal or not rows or ref.column not in rows[0]:
                continue
            if not self.filled.differing(ref):
                found = (
                    "no differing values that its constraints allow"
                    if is_independent(mask)
                    else f"no differing values that {mask.kind} shows alike"
                )
                self.filled.kept_equal[ref] = found

    def _makers(self, name: str, relation: Relation) -> dict[str, ColumnValues]:
        literals = self.schema.literals.get(name, ())
        return {
            c.name: column_values(
                c, self.catalog.dialect, self.source, self.count, literals, self.schema.labels.get((name, c.name), ()),
                is_key=c.name in relation.primary_key,
            )
            for c in relation.columns
            if not _is_generated(c)
        }  # fmt: skip

    def _rows(self, name: str, makers: Mapping[str, ColumnValues], number: int, attempt: int) -> tuple[Row, Row]:
        """One row for each twin."""
        level = min(attempt // 2, 3) if attempt < _ATTEMPTS - 2 else 1
        serial = number * _ATTEMPTS + attempt + 1
        one: Row = {}
        two: Row = {}
        for column, values in makers.items():
            ref = ColumnRef(name, column)
            mask = self.protection.masks.get(ref)
            place = number + 1 if values.is_key and attempt < 4 else self.count + serial if values.is_key else serial
            if mask is None or attempt >= _EQUAL_FROM or self._must_stay(ref):
                one[column] = two[column] = values.value(level, place)
            elif is_independent(mask):
                one[column], two[column] = values.free_pair(level, place)
            else:
                one[column], two[column] = values.alike_pair(mask, level, place, self.key)
        for foreign in self.schema.foreign_keys.get(name, ()):
            self._refer(name, foreign, one, two)
        return one, two

    def _must_stay(self, ref: ColumnRef) -> bool:
        """Whether a protected column has to be the same in both twins, which is noted."""
        if ref not in self.filled.kept_equal:
            mask = self.protection.masks[ref]
            reason = KEPT_EQUAL.get(mask.kind) or ("a foreign key refers to it" if self._is_referred_to(ref) else None)
            if reason is None:
                return False
            self.filled.kept_equal[ref] = reason
        return True

    def _is_referred_to(self, ref: ColumnRef) -> bool:
        """Whether a column that is not hidden altogether holds values of this one."""
        for child, keys in self.schema.foreign_keys.items():
            for foreign in keys:
                if foreign.parent != ref.relation or ref.column not in foreign.parent_columns:
                    continue
                masks = [self.protection.masks.get(ColumnRef(child, c)) for c in foreign.columns]
                if any(mask is None or not is_independent(mask) for mask in masks):
                    return True
        return False

    def _refer(self, name: str, foreign: ForeignKey, one: Row, two: Row) -> None:
        """Lets a row point at rows of the parent: at different ones in the twins where the mask hides at which."""
        if not all(c in one for c in foreign.columns):
            return
        parents = self.filled.first.get(foreign.parent, []), self.filled.second.get(foreign.parent, [])
        nullable = {c.name for c in self.catalog.relations[name].columns if c.is_nullable}
        own = [c for c in foreign.columns if c in nullable]
        is_null = own and (not parents[0] or self.source.random() < 0.1)
        masks = [self.protection.masks.get(ColumnRef(name, c)) for c in foreign.columns]
        is_free = all(mask is not None and is_independent(mask) for mask in masks)
        picked = self.source.randrange(max(len(parents[0]), 1))
        other = self.source.randrange(max(len(parents[0]), 1)) if is_free else picked
        for row, rows, index in ((one, parents[0], picked), (two, parents[1], other)):
            for column, target in zip(foreign.columns, foreign.parent_columns, strict=False):
                if is_null:
                    row[column] = None if column in nullable else row[column]
                elif rows:
                    row[column] = rows[index].get(target)
                elif foreign.parent == name:
                    row[column] = row.get(target)

    def _insert(self, relation: Relation, one: Row, two: Row) -> str | None:
        """Puts a row into every twin, or says why one of them refuses it and leaves it out of all."""
        begun: list[Scratch] = []
        refusal: str | None = None
        for number, twin in enumerate(self.twins):
            row = two if number == 1 else one
            place = (relation.schema, relation.name) if self.catalog.dialect != "mysql" else (relation.name,)
            names = ", ".join(twin.name(c) for c in row)
            sql = f"INSERT INTO {twin.name(*place)} ({names}) VALUES ({', '.join([twin.placeholder] * len(row))})"
            twin.begin()
            begun.append(twin)
            refusal = twin.refusal(sql, list(row.values()))
            if refusal is not None:
                break
        for twin in begun:
            if refusal is None:
                twin.keep()
            else:
                twin.undo()
        return refusal


def _is_generated(column: Column) -> bool:
    return column.declared is not None and bool(column.declared.generated)
