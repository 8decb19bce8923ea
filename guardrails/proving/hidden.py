"""Rows that a filter hides, made other than they are: in one more twin, which has to answer as the first does.

Which rows are hidden is asked of the database with the policy's own words, apart from the guard.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from guardrails.model import Catalog, Relation, RowFilter
from guardrails.proving.copying import Scratch, SourceSchema
from guardrails.proving.rows import Row
from guardrails.proving.values import column_values

__all__ = ["Hidden", "change_hidden"]

_PRINCIPAL = re.compile(r"'(?:[^']|'')*'|(\(\s*)?\bprincipal\.(\w+)", re.IGNORECASE)
_WORD = re.compile(r"\w+")


@dataclass
class Hidden:
    """By relation key how many rows are hidden and how many of them were changed or removed, and what could not be done."""

    rows: dict[str, int]
    changed: dict[str, int]
    refused: dict[str, str]


def change_hidden(
    twin: Scratch, catalog: Catalog, schema: SourceSchema, filters: Mapping[str, Sequence[RowFilter]],
    rows: Mapping[str, Sequence[Row]], *, count: int, seed: int,
) -> Hidden:  # fmt: skip
    """Changes and removes rows of a twin that its filters hide; values that keys and filters need stay."""
    found = Hidden({}, {}, {})
    source = random.Random(seed)
    for name, held in filters.items():
        relation = catalog.relations[name]
        if name in schema.unfilled:
            continue
        if not relation.primary_key:
            found.refused[name] = "it has no primary key"
            continue
        predicate = " AND ".join(f"({f.predicate})" for f in held)
        bindings = {k: v for f in held for k, v in f.bindings}
        text, values = _bound(predicate, bindings, twin.placeholder)
        filtered = {w.lower() for w in _WORD.findall(predicate)}
        filtered |= {b.lower() for c in relation.columns if c.name.lower() in filtered for b in c.computed_from}
        changer = _Changer(twin, catalog, schema, relation, name, filtered, source, count)
        for number, row in enumerate(rows.get(name, ())):
            key = [row[c] for c in relation.primary_key]
            reason = changer.count_visible(text, values, key)
            if isinstance(reason, str):
                found.refused[name] = reason
                break
            if reason == 0:
                found.rows[name] = found.rows.get(name, 0) + 1
                found.changed[name] = found.changed.get(name, 0) + changer.change(key, number)
    return found


def _bound(predicate: str, bindings: Mapping[str, object], placeholder: str) -> tuple[str, list[object]]:
    """Returns the predicate with placeholders for the principal's values, and the values; a list spreads."""
    values: list[object] = []

    def place(match: re.Match[str]) -> str:
        if match[2] is None:
            return match[0]
        value = next((v for k, v in bindings.items() if k.lower() == match[2].lower()), None)
        if isinstance(value, (list, tuple, set, frozenset)):
            values.extend(value)
            items = ", ".join([placeholder] * len(value)) or "NULL"
            return f"({items}" if match[1] else f"({items})"
        values.append(value)
        return f"{match[1] or ''}{placeholder}"

    escaped = predicate.replace("%", "%%") if placeholder == "%s" else predicate
    return _PRINCIPAL.sub(place, escaped), values


@dataclass
class _Changer:
    twin: Scratch
    catalog: Catalog
    schema: SourceSchema
    relation: Relation
    key: str
    filtered: set[str]
    source: random.Random
    count: int

    def count_visible(self, predicate: str, values: Sequence[object], key: Sequence[object]) -> int | str:
        """How many rows of a key the filter shows; why it cannot be asked."""
        sql = f"SELECT count(*) FROM {self._place()} WHERE ({predicate}) AND {self._where()}"
        self.twin.begin()
        try:
            return int(self.twin.execute(sql, [*values, *key])[0][0])
        except self.twin.errors as error:
            return str(error).strip().splitlines()[0]
        finally:
            self.twin.undo()

    def change(self, key: Sequence[object], number: int) -> bool:
        """Changes or removes a row; whether anything came of it."""
        if number % 2 and not self._is_referred_to() and self._run(f"DELETE FROM {self._place()} WHERE {self._where()}", key):
            return True
        done = False
        fixed = self._fixed()
        for column in self.relation.columns:
            is_generated = column.declared is not None and bool(column.declared.generated)
            if column.name in fixed or column.name.lower() in self.filtered or is_generated:
                continue
            labels = self.schema.labels.get((self.key, column.name), ())
            literals = self.schema.literals.get(self.key, ())
            values = column_values(column, self.catalog.dialect, self.source, self.count, literals, labels, is_key=False)
            sql = f"UPDATE {self._place()} SET {self.twin.name(column.name)} = {self.twin.placeholder} WHERE {self._where()}"
            done |= any(self._run(sql, [values.value(level, 5000 + number), *key]) for level in (1, 2, 3))
        return done

    def _run(self, sql: str, values: Sequence[object]) -> bool:
        self.twin.begin()
        is_refused = self.twin.refusal(sql, values) is not None
        if is_refused:
            self.twin.undo()
        else:
            self.twin.keep()
        return not is_refused

    def _place(self) -> str:
        is_mysql = self.catalog.dialect == "mysql"
        return self.twin.name(self.relation.name) if is_mysql else self.twin.name(self.relation.schema, self.relation.name)

    def _where(self) -> str:
        return " AND ".join(f"{self.twin.name(c)} = {self.twin.placeholder}" for c in self.relation.primary_key)

    def _is_referred_to(self) -> bool:
        return any(f.parent == self.key for keys in self.schema.foreign_keys.values() for f in keys)

    def _fixed(self) -> set[str]:
        """Columns that other rows or tables depend on."""
        own = {c for f in self.schema.foreign_keys.get(self.key, ()) for c in f.columns}
        others = {
            c for keys in self.schema.foreign_keys.values() for f in keys if f.parent == self.key for c in f.parent_columns
        }
        return {*self.relation.primary_key, *own, *others}
