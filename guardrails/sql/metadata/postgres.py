"""PostgreSQL's information schema, and the views of its catalog that list relations.

Sources: https://www.postgresql.org/docs/current/information-schema.html and the definitions in PostgreSQL's information_schema.sql
(what a type's text says about length, precision and scale).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from guardrails.sql.metadata.base import Cell, EngineSchema, Entry, Field, SchemaRelation, of_columns, of_relations

__all__ = ["POSTGRES"]

_TABLE_TYPES = {"table": "BASE TABLE", "view": "VIEW", "foreign_table": "FOREIGN"}
_UDT_NAMES = {
    "bigint": "int8",
    "bit varying": "varbit",
    "boolean": "bool",
    "character": "bpchar",
    "character varying": "varchar",
    "double precision": "float8",
    "integer": "int4",
    "real": "float4",
    "smallint": "int2",
    "time with time zone": "timetz",
    "time without time zone": "time",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    '"char"': "char",
}
_PRECISIONS = {"smallint": 16, "integer": 32, "bigint": 64, "real": 24, "double precision": 53}
_WITH_LENGTH = {"character", "character varying", "bit", "bit varying"}
_TIMES = {name for name in _UDT_NAMES if name.startswith("time")} | {"interval"}
_MODIFIERS = re.compile(r"\((\d+)(?:,(-?\d+))?\)")
_INTERVAL_FIELDS = re.compile(r"^interval .*")


class _Type(NamedTuple):
    """A type as the information schema takes it apart."""

    data_type: str
    udt_name: str
    length: Cell = None
    precision: Cell = None
    scale: Cell = None
    datetime_precision: Cell = None


@lru_cache(maxsize=4096)
def _parted(text: str) -> _Type:
    """Takes the text that format_type gives apart; names outside pg_catalog are qualified there."""
    element = text.removesuffix("[]")
    modifiers = _MODIFIERS.search(element)
    base = _INTERVAL_FIELDS.sub("interval", _MODIFIERS.sub("", element).strip())
    is_own = "." in base or (base.startswith('"') and base not in _UDT_NAMES)
    udt = base.rpartition(".")[2].strip('"') if is_own else _UDT_NAMES.get(base, base)
    if element != text:
        return _Type("ARRAY", f"_{udt}")
    if is_own:
        return _Type("USER-DEFINED", udt)
    first, second = (int(g) if g else None for g in modifiers.groups()) if modifiers else (None, None)
    if base in _PRECISIONS:
        return _Type(base, udt, precision=_PRECISIONS[base], scale=0 if "int" in base else None)
    if base == "numeric":
        return _Type(base, udt, precision=first, scale=second)
    if base in _TIMES or base == "date":
        default = 0 if base == "date" else 6
        return _Type(base, udt, datetime_precision=default if first is None else first)
    return _Type(base, udt, length=first if base in _WITH_LENGTH else None)


def _type(entry: Entry) -> _Type:
    return _parted(entry.declared.type)


def _yes_or_no(is_so: bool) -> str:
    return "YES" if is_so else "NO"


_CATALOG = Field("name", function="current_database")
_SCHEMA = Field("name", lambda e: e.relation.schema)
_NAME = Field("name", lambda e: e.relation.name)
_LISTED = tuple(_TABLE_TYPES)

_TABLES = SchemaRelation(
    {
        "table_catalog": _CATALOG,
        "table_schema": _SCHEMA,
        "table_name": _NAME,
        "table_type": Field("text", lambda e: _TABLE_TYPES[e.relation.kind]),
    },
    of_relations(*_LISTED),
)
_COLUMNS = SchemaRelation(
    {
        "table_catalog": _CATALOG,
        "table_schema": _SCHEMA,
        "table_name": _NAME,
        "column_name": Field("name", lambda e: e.column.name),
        "ordinal_position": Field("number", lambda e: e.position),
        "column_default": Field("text", lambda e: e.declared.default),
        "is_nullable": Field("flag", lambda e: _yes_or_no(e.column.is_nullable)),
        "data_type": Field("text", lambda e: _type(e).data_type),
        "character_maximum_length": Field("number", lambda e: _type(e).length),
        "numeric_precision": Field("number", lambda e: _type(e).precision),
        "numeric_scale": Field("number", lambda e: _type(e).scale),
        "datetime_precision": Field("number", lambda e: _type(e).datetime_precision),
        "udt_name": Field("name", lambda e: _type(e).udt_name),
        "is_generated": Field("text", lambda e: "ALWAYS" if e.declared.generated else "NEVER"),
    },
    of_columns(*_LISTED),
)
_VIEWS = SchemaRelation(
    # The query is shown to a view's owner only, which no agent is.
    {"table_catalog": _CATALOG, "table_schema": _SCHEMA, "table_name": _NAME, "view_definition": Field("text")},
    of_relations("view"),
)


_SCHEMATA = SchemaRelation(
    {"catalog_name": _CATALOG, "schema_name": _SCHEMA}, of_relations(*_LISTED, "materialized_view"), is_distinct=True
)


def _listing(name: str, *kinds: str) -> SchemaRelation:
    return SchemaRelation({"schemaname": _SCHEMA, name: _NAME}, of_relations(*kinds))


POSTGRES = EngineSchema(
    relations={
        "information_schema.tables": _TABLES,
        "information_schema.columns": _COLUMNS,
        "information_schema.views": _VIEWS,
        "information_schema.schemata": _SCHEMATA,
        "pg_catalog.pg_tables": _listing("tablename", "table"),
        "pg_catalog.pg_views": _listing("viewname", "view"),
        "pg_catalog.pg_matviews": _listing("matviewname", "materialized_view"),
    },
    implicit_schema="pg_catalog",
)
