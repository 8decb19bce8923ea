"""DuckDB's information schema, and what SHOW TABLES and DESCRIBE give.

Sources: https://duckdb.org/docs/stable/sql/meta/information_schema and https://duckdb.org/docs/stable/guides/meta/describe
"""

from __future__ import annotations

from guardrails.sql.metadata.base import EngineSchema, Entry, Field, SchemaRelation, of_columns, of_relations

__all__ = ["DUCKDB"]

_LISTED = ("table", "view")
_TABLE_TYPES = {"table": "BASE TABLE", "view": "VIEW"}


def _yes_or_no(value: bool) -> str:
    return "YES" if value else "NO"


_CATALOG = Field("text", function="current_database")
_SCHEMA = Field("text", lambda e: e.relation.schema)
_NAME = Field("text", lambda e: e.relation.name)
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
        "column_name": Field("text", lambda e: e.column.name),
        "ordinal_position": Field("number", lambda e: e.position),
        "column_default": Field("text", lambda e: e.declared.default),
        "is_nullable": Field("text", lambda e: _yes_or_no(not e.declared.is_not_null)),
        "data_type": Field("text", lambda e: e.declared.type),
    },
    of_columns(*_LISTED),
)
_SCHEMATA = SchemaRelation({"catalog_name": _CATALOG, "schema_name": _SCHEMA}, of_relations(*_LISTED), is_distinct=True)


def _key(entry: Entry) -> str | None:
    return "PRI" if entry.key_position else None


_DESCRIBED = SchemaRelation(
    {
        "column_name": Field("text", lambda e: e.column.name),
        "column_type": Field("text", lambda e: e.declared.type),
        "null": Field("text", lambda e: _yes_or_no(not e.declared.is_not_null)),
        "key": Field("text", _key),
        "default": Field("text", lambda e: e.declared.default),
        "extra": Field("text"),
    },
    of_columns(*_LISTED),
    argument=lambda e: e.relation.name,
    is_strict=True,
)
_SHOWN = SchemaRelation({"name": _NAME}, of_relations(*_LISTED))
DUCKDB = EngineSchema(
    relations={
        "information_schema.tables": _TABLES,
        "information_schema.columns": _COLUMNS,
        "information_schema.schemata": _SCHEMATA,
    },
    statements={"show_tables": _SHOWN, "show_columns": _DESCRIBED},
)
