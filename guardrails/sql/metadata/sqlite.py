"""SQLite's schema table and the pragmas that describe tables.

Indexes and triggers are not shown, nor where a table is stored. Sources: https://www.sqlite.org/schematab.html,
https://www.sqlite.org/pragma.html#pragma_table_list, #pragma_table_info, #pragma_table_xinfo
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from guardrails.model import RelationKind
from guardrails.sql.metadata.base import EngineSchema, Entry, Field, SchemaRelation, Seen, of_columns, of_relations

__all__ = ["SQLITE"]

_KINDS: tuple[RelationKind, ...] = ("table", "view", "foreign_table")
_TYPES = {"table": "table", "view": "view", "foreign_table": "virtual"}


def _create(entry: Entry) -> str:
    """A CREATE statement of what is seen; a view's query is not, as it may name what is not seen."""
    seen, name = entry.seen, _quoted(entry.relation.name)
    if seen.relation.kind == "view":
        return f"CREATE VIEW {name} ({', '.join(_quoted(c.name) for c in seen.columns)})"
    parts = [_definition(Entry(seen, column)) for column in seen.columns]
    if seen.key:
        parts.append(f"PRIMARY KEY ({', '.join(map(_quoted, seen.key))})")
    return f"CREATE TABLE {name} (" + ", ".join(parts) + ")"


def _definition(entry: Entry) -> str:
    declared = entry.declared
    default = f"DEFAULT {declared.default}" if declared.default is not None else ""
    words = [_quoted(entry.column.name), declared.type, "NOT NULL" if declared.is_not_null else "", default]
    return " ".join(filter(None, words))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_MASTER = SchemaRelation(
    {
        "type": Field("text", lambda e: "view" if e.relation.kind == "view" else "table"),
        "name": Field("text", lambda e: e.relation.name),
        "tbl_name": Field("text", lambda e: e.relation.name),
        "sql": Field("text", _create),
    },
    of_relations(*_KINDS),
)
_TABLE_LIST = SchemaRelation(
    {
        "schema": Field("text", lambda e: e.relation.schema),
        "name": Field("text", lambda e: e.relation.name),
        "type": Field("text", lambda e: _TYPES[e.relation.kind]),
        "ncol": Field("number", lambda e: len(e.seen.columns)),
    },
    of_relations(*_KINDS),
    argument=lambda e: e.relation.name,
)
_FIELDS = {
    "cid": Field("number", lambda e: e.position - 1),
    "name": Field("text", lambda e: e.column.name),
    "type": Field("text", lambda e: e.declared.type),
    "notnull": Field("number", lambda e: int(e.declared.is_not_null)),
    "dflt_value": Field("text", lambda e: e.declared.default),
    "pk": Field("number", lambda e: e.key_position),
}
_HIDDEN = {"": 0, "virtual": 2, "stored": 3}


def _stored_columns(seen: Seen) -> Iterator[Entry]:
    entries = (e for e in of_columns(*_KINDS)(seen) if not e.declared.generated)
    return (replace(entry, position=position) for position, entry in enumerate(entries, 1))


_TABLE_INFO = SchemaRelation(_FIELDS, _stored_columns, argument=lambda e: e.relation.name)
_TABLE_XINFO = SchemaRelation(
    _FIELDS | {"hidden": Field("number", lambda e: _HIDDEN[e.declared.generated])},
    of_columns(*_KINDS),
    argument=lambda e: e.relation.name,
)
SQLITE = EngineSchema(
    relations={
        "main.sqlite_master": _MASTER,
        "main.sqlite_schema": _MASTER,
        "main.pragma_table_list": _TABLE_LIST,
    },
    functions={
        "pragma_table_info": _TABLE_INFO,
        "pragma_table_list": _TABLE_LIST,
        "pragma_table_xinfo": _TABLE_XINFO,
    },
)
