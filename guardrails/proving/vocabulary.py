"""A catalog as the grammar's schema: what this principal may read, with the kind of each column, a handful of relations at a time."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from guardrails.masking.types import column_type
from guardrails.model import Catalog, Column, Relation
from guardrails.proving.grammar import FLAVOURS, Flavour, Hierarchy, Schema, quoted
from guardrails.proving.grammar.flavour import Templates
from guardrails.proving.grammar.reserved import RESERVED
from guardrails.proving.probes import literal

__all__ = ["Vocabulary"]

_KINDS = {
    "text": "text", "integer": "int", "numeric": "num", "float": "num", "boolean": "bool", "date": "date", "timestamp": "ts",
    "timestamptz": "ts",
}  # fmt: skip
_ARRAYS = {"integer[]": "arr"}
_JSON = {"postgres": "jsonb"}
_OTHER = "other"
Examples = Mapping[tuple[str, str], Sequence[object]]
_AT_ONCE = 4
"""Relations that one statement chooses from: few enough that protected ones come up in most."""
_UNNAMEABLE = re.compile(r"[\"`\[\].%{}\x00-\x1f]")


class Vocabulary:
    """What statements about one database are made of.

    Args:
        catalog: The schema.
        visible: By relation key the columns that the principal may read.
        protected: Relations in which something is hidden, and views over them: at least one is in each handful.
        examples: By relation and protected column values that the twins hold: what statements are about, and compare with.
        seed: Decides which relations come together.
    """

    def __init__(
        self,
        catalog: Catalog,
        visible: Mapping[str, Sequence[str]],
        protected: frozenset[str],
        examples: Examples,
        seed: int,
    ) -> None:
        self.catalog = catalog
        self._relations = {
            key: columns
            for key, names in visible.items()
            if (columns := self._columns(catalog.relations[key], names)) and _is_nameable(key, catalog.relations[key])
        }
        self._protected = sorted(protected & self._relations.keys())
        self._examples = examples
        self._favoured = frozenset(column for _, column in examples)
        self._seed = seed

    def __bool__(self) -> bool:
        return bool(self._relations)

    def flavour(self, turn: int, *, is_change: bool = False) -> Flavour:
        """Returns the engine's grammar over a handful of relations; the same for the same turn. Changes name columns of known kinds."""
        source = random.Random(self._seed * 1_000_003 + turn)
        picked = source.sample(self._protected, min(len(self._protected), _AT_ONCE // 2))
        others = [key for key in sorted(self._relations) if key not in picked]
        picked += source.sample(others, min(len(others), _AT_ONCE - len(picked)))
        plain = FLAVOURS[self.catalog.dialect]
        return replace(plain, schema=self._schema(sorted(picked), is_change=is_change), literals=self._literals(plain, source))

    def probed(self) -> Mapping[tuple[str, str], str]:
        """By relation and protected column that can be asked for, another column of the relation, in the order of the catalog."""
        found: dict[tuple[str, str], str] = {}
        for relation, columns in self._relations.items():
            open_ = [c for c in columns if (relation, c) not in self._examples]
            keys = [c for c in open_ if c in self.catalog.relations[relation].primary_key]
            for column in columns:
                if (relation, column) in self._examples:
                    found[relation, column] = next(iter([*keys, *open_, column]))
        return found

    def _literals(self, flavour: Flavour, source: random.Random) -> Templates:
        """The engine's constants, with some values that the twins hold beside them."""
        found = {kind: list(texts) for kind, texts in flavour.literals.items()}
        for (relation, column), values in self._examples.items():
            kind = self._relations.get(relation, {}).get(column, _OTHER)
            texts = [text for v in values if (text := literal(v)) is not None]
            if kind in found and texts:
                found[kind] += source.sample(texts, min(len(texts), 3))
        return found

    def _columns(self, relation: Relation, names: Sequence[str]) -> dict[str, str]:
        return {c.name: self._kind(c) for c in relation.columns if c.name in names and not _UNNAMEABLE.search(c.name)}

    def _kind(self, column: Column) -> str:
        dialect = self.catalog.dialect
        if column.type in _ARRAYS and dialect in ("postgres", "duckdb"):
            return _ARRAYS[column.type]
        family = column_type(column, dialect).family
        if family == "json" and column.type == _JSON.get(dialect, column.type):
            return "json"
        return _KINDS.get(family, _OTHER)

    def _schema(self, keys: Sequence[str], *, is_change: bool) -> Schema:
        relations = self.catalog.relations
        tables = {k: self._relations[k] for k in keys if relations[k].kind == "table"}
        views = {k: self._relations[k] for k in keys if k not in tables}
        if is_change:
            known = FLAVOURS[self.catalog.dialect].types
            writable = {k: {c: kind for c, kind in columns.items() if kind in known} for k, columns in tables.items()}
            tables = {k: columns for k, columns in writable.items() if columns}
        primary = {k: relations[k].primary_key for k in tables if relations[k].primary_key}
        # Where every relation could be shadowed, a query could be left with none.
        shadowed = [k for k in tables if "." not in k][-1:] if len(keys) > 1 else []
        ids = frozenset(c.lower() for found in primary.values() for c in found)
        base = Schema(
            tables,
            views,
            primary,
            "" if self.catalog.dialect == "mysql" else self.catalog.default_schema,
            cte_names=[*shadowed, "Picked"],
            reserved=RESERVED,
            ids=ids,
            fixed=ids,
        )
        flavour = replace(FLAVOURS[self.catalog.dialect], schema=base)
        counted = next(iter(tables or views), None)
        if counted is None:
            return base
        number = next((c for c, kind in self._relations[counted].items() if kind == "int"), None)
        return replace(
            base,
            favoured=self._favoured,
            favoured_kinds=sorted(
                {kind for k in keys for c, kind in self._relations[k].items() if c in self._favoured and kind in flavour.types}
            ),
            counted=flavour.spell(counted),
            counted_key="1" if number is None else f"oo.{quoted(number, flavour)}",
            hierarchy=self._hierarchy(tables),
        )

    def _hierarchy(self, tables: Mapping[str, Mapping[str, str]]) -> Hierarchy | None:
        """A table with a number as its key, another number that may point at it, and a text."""
        for table, columns in tables.items():
            key = self.catalog.relations[table].primary_key
            numbers = [c for c, kind in columns.items() if kind == "int" and c not in key]
            texts = [c for c, kind in columns.items() if kind == "text"]
            if len(key) == 1 and columns.get(key[0]) == "int" and numbers and texts and "level" not in (key[0], texts[0]):
                return Hierarchy(table, key[0], texts[0], numbers[0])
        return None


def _is_nameable(key: str, relation: Relation) -> bool:
    """Whether a statement can name it: its key is what the grammar takes apart at the point."""
    parts = (relation.schema, relation.name) if "." in key else (relation.name,)
    return not any(_UNNAMEABLE.search(part) for part in parts)
