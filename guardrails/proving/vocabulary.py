"""A catalog as the grammar's schema: what this principal may read, with the kind of each column, a handful of relations at a time."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from guardrails.masking.types import column_type
from guardrails.model import Catalog, Column, Relation
from guardrails.proving.grammar import FLAVOURS, Flavour, Hierarchy, Schema, quoted

__all__ = ["Vocabulary"]

_KINDS = {
    "text": "text", "integer": "int", "numeric": "num", "float": "num", "boolean": "bool", "date": "date", "timestamp": "ts",
    "timestamptz": "ts",
}  # fmt: skip
_ARRAYS = {"integer[]": "arr"}
_JSON = {"postgres": "jsonb"}
_OTHER = "other"
_AT_ONCE = 4
"""Relations that one statement chooses from: few enough that protected ones come up in most."""
_UNNAMEABLE = re.compile(r"[\"`\[\].%{}\x00-\x1f]")
_RESERVED = frozenset(
    ["abs", "action", "add", "after", "all", "alter", "analyze", "and", "any", "array", "as", "asc", "at", "authorization", "avg", "begin", "between", "both", "by", "call", "cascade", "case", "cast", "char", "character", "check", "collate", "column", "comment", "commit", "condition", "constraint", "count", "create", "cross", "current", "current_date", "current_time", "current_timestamp", "current_user", "cursor", "data", "database", "date", "day", "decimal", "default", "delete", "desc", "describe", "distinct", "do", "drop", "each", "else", "end", "escape", "except", "exists", "explain", "false", "fetch", "filter", "first", "float", "for", "foreign", "from", "full", "function", "general", "glob", "grant", "group", "groups", "having", "hour", "if", "in", "index", "inner", "insert", "int", "integer", "intersect", "interval", "into", "is", "isnull", "join", "key", "keys", "kind", "lateral", "leading", "left", "level", "like", "limit", "local", "lock", "match", "max", "min", "minute", "month", "name_const", "natural", "new", "no", "not", "notnull", "null", "numeric", "of", "offset", "old", "on", "only", "option", "or", "order", "outer", "over", "overlaps", "partition", "period", "position", "precision", "primary", "procedure", "range", "rank", "read", "real", "references", "release", "rename", "replace", "returning", "right", "role", "row", "row_number", "rows", "schema", "second", "select", "session_user", "set", "share", "show", "signal", "similar", "smallint", "some", "sql", "start", "status_code", "sum", "symmetric", "system", "table", "then", "time", "timestamp", "to", "trailing", "trigger", "true", "type", "union", "unique", "unknown", "unlock", "update", "usage", "use", "user", "using", "value", "values", "varchar", "varying", "verbose", "view", "when", "where", "window", "with", "work", "write", "year", "zone"]
)
"""Words that some engine keeps for itself; a name among them is always written in quotes."""


class Vocabulary:
    """What statements about one database are made of.

    Args:
        catalog: The schema.
        visible: By relation key the columns that the principal may read.
        protected: Relations in which something is hidden, and views over them: at least one is in each handful.
        favoured: Names of the columns that statements are to be about, as far as they may be read.
        seed: Decides which relations come together.
    """

    def __init__(self, catalog: Catalog, visible: Mapping[str, Sequence[str]], protected: frozenset[str], favoured: frozenset[str], seed: int) -> None:
        self.catalog = catalog
        self._relations = {
            key: columns
            for key, names in visible.items()
            if (columns := self._columns(catalog.relations[key], names)) and _is_nameable(key, catalog.relations[key])
        }
        self._protected = sorted(protected & self._relations.keys())
        self._favoured = favoured
        self._seed = seed

    def __bool__(self) -> bool:
        return bool(self._relations)

    def flavour(self, turn: int) -> Flavour:
        """Returns the engine's grammar over a handful of relations; the same for the same turn."""
        source = random.Random(self._seed * 1_000_003 + turn)
        picked = source.sample(self._protected, min(len(self._protected), _AT_ONCE // 2))
        others = [key for key in sorted(self._relations) if key not in picked]
        picked += source.sample(others, min(len(others), _AT_ONCE - len(picked)))
        return replace(FLAVOURS[self.catalog.dialect], schema=self._schema(sorted(picked)))

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

    def _schema(self, keys: Sequence[str]) -> Schema:
        relations = self.catalog.relations
        tables = {k: self._relations[k] for k in keys if relations[k].kind == "table"}
        views = {k: self._relations[k] for k in keys if k not in tables}
        primary = {k: relations[k].primary_key for k in tables if relations[k].primary_key}
        ids = frozenset(c.lower() for found in primary.values() for c in found)
        base = Schema(
            tables,
            views,
            primary,
            "" if self.catalog.dialect == "mysql" else self.catalog.default_schema,
            cte_names=[*[k for k in tables if "." not in k][-1:], "Picked"],
            reserved=_RESERVED,
            ids=ids,
            fixed=ids,
        )
        flavour = replace(FLAVOURS[self.catalog.dialect], schema=base)
        counted = next(iter(tables or views))
        number = next((c for c, kind in self._relations[counted].items() if kind == "int"), None)
        return replace(
            base,
            favoured=self._favoured,
            favoured_kinds=sorted({kind for k in keys for c, kind in self._relations[k].items() if c in self._favoured and kind in flavour.types}),
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
