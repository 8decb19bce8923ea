"""MySQL and MariaDB: the information schema, and what SHOW TABLES, SHOW COLUMNS, DESCRIBE and SHOW CREATE TABLE give.

Comments, privileges, collations, storage and statistics are not shown. Sources: https://mariadb.com/kb/en/information-schema-tables/,
https://mariadb.com/kb/en/show-columns/ and https://dev.mysql.com/doc/refman/8.4/en/information-schema-columns-table.html
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from guardrails.sql.metadata.base import Cell, EngineSchema, Entry, Field, SchemaRelation, of_columns, of_relations

__all__ = ["MYSQL"]

_KINDS = ("table", "view", "foreign_table")
_TYPE = re.compile(r"(\w+)(?:\((\d+)(?:,(\d+))?\))?(.*)", re.DOTALL)
_MEMBER = re.compile(r"'((?:[^']|'')*)'")
_LENGTHS = {"tiny": 2**8 - 1, "": 2**16 - 1, "medium": 2**24 - 1, "long": 2**32 - 1}
_TEXTS = {f"{size}{kind}": length for size, length in _LENGTHS.items() for kind in ("text", "blob")}
_WHOLE = {"tinyint": 3, "smallint": 5, "mediumint": 7, "int": 10, "bigint": 19}
_WIDER = {"mediumint", "bigint"}
"""Whole numbers that have one digit more without a sign."""
_REAL = {"float": 12, "double": 22}
_WITH_LENGTH = {"char", "varchar", "binary", "varbinary"}
_TIMES = {"datetime", "timestamp", "time"}
_EXPRESSIONS_ONLY = frozenset(_TEXTS) | {"json"}
"""Types whose defaults are expressions, never plain constants."""


class _Type(NamedTuple):
    """A column type as the information schema takes it apart."""

    data_type: str
    length: Cell = None
    precision: Cell = None
    scale: Cell = None
    datetime_precision: Cell = None


@lru_cache(maxsize=4096)
def _parted(text: str) -> _Type:
    match = _TYPE.fullmatch(text)
    if match is None:
        return _Type(text)
    name, rest = match[1], match[4]
    first, second = (int(g) if g else None for g in (match[2], match[3]))
    if name in _WHOLE:
        return _Type(name, precision=_WHOLE[name] + (name in _WIDER and "unsigned" in rest), scale=0)
    if name == "decimal":
        return _Type(name, precision=first, scale=second or 0)
    if name in _REAL:
        return _Type(name, precision=_REAL[name] if second is None else first, scale=second)
    if name == "bit":
        return _Type(name, precision=first)
    if name in _TIMES:
        return _Type(name, datetime_precision=first or 0)
    if name in ("enum", "set"):
        sizes = [len(m.replace("''", "'")) for m in _MEMBER.findall(rest)]
        return _Type(name, length=max(sizes, default=0) if name == "enum" else sum(sizes) + max(len(sizes) - 1, 0))
    return _Type(name, length=first if name in _WITH_LENGTH else _TEXTS.get(name))


def _type(entry: Entry) -> _Type:
    return _parted(entry.declared.type)


def _key(entry: Entry) -> str:
    """A primary key that is not seen as a whole is none."""
    key = entry.declared.key or ("PRI" if entry.key_position else "")
    return "" if key == "PRI" and not entry.key_position else key


def _default(entry: Entry) -> str | None:
    """The default as SHOW tells it: a constant without its quotes."""
    default = entry.declared.default
    if default == "NULL":
        return None
    if default is not None and _type(entry).data_type not in _EXPRESSIONS_ONLY and _MEMBER.fullmatch(default):
        return default[1:-1].replace("''", "'")
    return default


def _yes_or_no(is_so: bool) -> str:
    return "YES" if is_so else "NO"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _create(entry: Entry) -> str:
    """A CREATE statement of what is seen; a view's query is not, as it may name what is not seen."""
    seen, name = entry.seen, _quoted(entry.relation.name)
    if seen.relation.kind == "view":
        return f"CREATE VIEW {name} ({', '.join(_quoted(c.name) for c in seen.columns)})"
    parts = [_definition(Entry(seen, column)) for column in seen.columns]
    if seen.key:
        parts.append(f"PRIMARY KEY ({','.join(map(_quoted, seen.key))})")
    return f"CREATE TABLE {name} (\n" + ",\n".join(f"  {part}" for part in parts) + "\n)"


def _definition(entry: Entry) -> str:
    declared = entry.declared
    default = f"DEFAULT {declared.default}" if declared.default is not None and not declared.generated else ""
    extra = "" if declared.generated else declared.extra.upper()
    words = [_quoted(entry.column.name), declared.type, "NOT NULL" if declared.is_not_null else "", default, extra]
    return " ".join(filter(None, words))


_CATALOG = Field("name", lambda _: "def")
_SCHEMA = Field("name", lambda e: e.relation.schema)
_NAME = Field("name", lambda e: e.relation.name)
_TABLE_TYPE = Field("text", lambda e: "VIEW" if e.relation.kind == "view" else "BASE TABLE")
_OF_TABLE = {"TABLE_CATALOG": _CATALOG, "TABLE_SCHEMA": _SCHEMA, "TABLE_NAME": _NAME}

_TABLES = SchemaRelation(_OF_TABLE | {"TABLE_TYPE": _TABLE_TYPE}, of_relations(*_KINDS))
_COLUMNS = SchemaRelation(
    _OF_TABLE
    | {
        "COLUMN_NAME": Field("name", lambda e: e.column.name),
        "ORDINAL_POSITION": Field("number", lambda e: e.position),
        "COLUMN_DEFAULT": Field("text", lambda e: e.declared.default),
        "IS_NULLABLE": Field("flag", lambda e: _yes_or_no(e.column.is_nullable)),
        "DATA_TYPE": Field("text", lambda e: _type(e).data_type),
        "CHARACTER_MAXIMUM_LENGTH": Field("number", lambda e: _type(e).length),
        "NUMERIC_PRECISION": Field("number", lambda e: _type(e).precision),
        "NUMERIC_SCALE": Field("number", lambda e: _type(e).scale),
        "DATETIME_PRECISION": Field("number", lambda e: _type(e).datetime_precision),
        "COLUMN_TYPE": Field("text", lambda e: e.declared.type),
        "COLUMN_KEY": Field("text", _key),
        "EXTRA": Field("text", lambda e: e.declared.extra),
    },
    of_columns(*_KINDS),
)
_VIEWS = SchemaRelation(
    # What who may not see a view's definition gets for it.
    _OF_TABLE | {"VIEW_DEFINITION": Field("text", lambda _: "")},
    of_relations("view"),
)
_SCHEMATA = SchemaRelation({"CATALOG_NAME": _CATALOG, "SCHEMA_NAME": _SCHEMA}, of_relations(*_KINDS), is_distinct=True)
_DESCRIBED = SchemaRelation(
    {
        "Field": Field("name", lambda e: e.column.name),
        "Type": Field("text", lambda e: e.declared.type),
        "Null": Field("flag", lambda e: _yes_or_no(e.column.is_nullable)),
        "Key": Field("text", _key),
        "Default": Field("text", _default),
        "Extra": Field("text", lambda e: e.declared.extra),
    },
    of_columns(*_KINDS),
    argument=lambda e: e.relation.name,
    is_strict=True,
)
_CREATED = SchemaRelation(
    {"Table": _NAME, "Create Table": Field("text", _create)},
    of_relations(*_KINDS),
    argument=lambda e: e.relation.name,
    is_strict=True,
)


def _listed(*, is_full: bool, is_pattern: bool) -> SchemaRelation:
    name = "Tables_in_{schema} ({pattern})" if is_pattern else "Tables_in_{schema}"
    fields = {name: _NAME} | ({"Table_type": _TABLE_TYPE} if is_full else {})
    argument = (lambda e: e.relation.name) if is_pattern else None
    return SchemaRelation(fields, of_relations(*_KINDS), argument=argument, is_pattern=is_pattern)


MYSQL = EngineSchema(
    relations={
        "information_schema.tables": _TABLES,
        "information_schema.columns": _COLUMNS,
        "information_schema.views": _VIEWS,
        "information_schema.schemata": _SCHEMATA,
    },
    statements={
        "show_tables": _listed(is_full=False, is_pattern=False),
        "show_tables_like": _listed(is_full=False, is_pattern=True),
        "show_full_tables": _listed(is_full=True, is_pattern=False),
        "show_full_tables_like": _listed(is_full=True, is_pattern=True),
        "show_columns": _DESCRIBED,
        "show_create_table": _CREATED,
    },
)
