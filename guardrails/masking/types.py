"""What a column's declared type means for masking: its family, and the bounds that a masked value has to stay within.

PostgreSQL names follow `format_type` (PostgreSQL documentation, chapter 8); SQLite's declared types are free text, read by the
affinity rules of https://sqlite.org/datatype3.html section 3.1 with dates, times, booleans and JSON told apart first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from guardrails.model import Column, DialectName

__all__ = ["ColumnType", "Family", "column_type"]

Family: TypeAlias = Literal[
    "text", "integer", "numeric", "float", "boolean", "date", "timestamp", "timestamptz", "time", "timetz",
    "interval", "uuid", "json", "bytes", "unknown",
]  # fmt: skip

_INTEGER_BITS = {"smallint": 16, "int2": 16, "integer": 32, "int": 32, "int4": 32, "bigint": 64, "int8": 64}
_BITS = _INTEGER_BITS | {"real": 32, "float4": 32}

_FAMILIES: dict[str, Family] = {
    "text": "text", "character varying": "text", "varchar": "text", "character": "text", "char": "text", "bpchar": "text",
    "citext": "text", **dict.fromkeys(_INTEGER_BITS, "integer"),
    "numeric": "numeric", "decimal": "numeric", "real": "float", "float4": "float", "double precision": "float",
    "float8": "float", "boolean": "boolean", "bool": "boolean", "date": "date", "timestamp": "timestamp",
    "timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz", "timestamptz": "timestamptz",
    "time": "time", "time without time zone": "time", "time with time zone": "timetz", "timetz": "timetz",
    "interval": "interval", "uuid": "uuid", "json": "json", "jsonb": "json", "bytea": "bytes",
}  # fmt: skip

_MYSQL_BITS = {"tinyint": 8, "smallint": 16, "year": 16, "mediumint": 24, "int": 32, "bigint": 64, "float": 32}
_MYSQL_FAMILIES: dict[str, Family] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year"), "integer"), "decimal": "numeric",
    **dict.fromkeys(("float", "double"), "float"), "date": "date", "datetime": "timestamp", "timestamp": "timestamp",
    "time": "interval", **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"), "text"),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), "bytes"), "json": "json", "uuid": "uuid",
}  # fmt: skip
_DUCKDB_BITS = {
    "tinyint": 8, "smallint": 16, "integer": 32, "int": 32, "bigint": 64, "utinyint": 9, "usmallint": 17, "uinteger": 33, "ubigint": 65,
    "float": 32,
}  # fmt: skip
_DUCKDB_FAMILIES: dict[str, Family] = {
    **dict.fromkeys(("tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint"), "integer"),
    "int": "integer", "text": "text", "real": "float", "timestamptz": "timestamptz",  # as a schema file's types are written out
    "varchar": "text", "decimal": "numeric", "double": "float", "float": "float", "boolean": "boolean", "date": "date",
    "timestamp": "timestamp", "timestamp with time zone": "timestamptz", "time": "time", "interval": "interval", "uuid": "uuid",
    "blob": "bytes", "json": "json",
}  # fmt: skip
_DECIMAL = re.compile(r"decimal\((\d{1,2}),\s*(\d{1,2})\)")
_BLANK_PADDED = frozenset({"character", "char", "bpchar"})
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]*")
_MODIFIER = re.compile(r"\(\s*(\d{1,9})\s*(?:,\s*(-?\d{1,9})\s*)?\)")
# In the order in which they are looked for inside a declared type.
_SQLITE_PARTS: tuple[tuple[str, Family], ...] = (
    ("bool", "boolean"), ("timestamp", "timestamp"), ("datetime", "timestamp"), ("date", "date"), ("time", "time"),
    ("json", "json"), ("uuid", "text"), ("int", "integer"), ("char", "text"), ("clob", "text"), ("text", "text"),
    ("blob", "bytes"), ("real", "float"), ("floa", "float"), ("doub", "float"), ("num", "numeric"), ("dec", "numeric"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A declared type.

    Args:
        family: What kind of values it holds; ``unknown`` when this library cannot tell.
        sql: The type's text, to cast to.
        length: Most characters that it holds, None when unlimited.
        precision: Digits of a numeric type, None when unlimited; `scale` of them after the point.
        scale: See `precision`.
        bits: Width of an integer or float type.
        is_blank_padded: Values are padded with blanks to `length` (``char(n)``).
        is_known_array: It is an array of values of a known family (PostgreSQL).
    """

    family: Family
    sql: str
    length: int | None = None
    precision: int | None = None
    scale: int = 0
    bits: int = 64
    is_blank_padded: bool = False
    is_known_array: bool = False

    def fit(self, text: str) -> str:
        """Returns a text as a cast to this type leaves it: cut off at the length, and padded to it."""
        if self.length is None:
            return text
        return text[: self.length].ljust(self.length if self.is_blank_padded else 0)


def column_type(column: Column, dialect: DialectName) -> ColumnType:
    """Returns what `column.type` means in a dialect."""
    declared = " ".join(column.type.lower().split())
    return {"sqlite": _sqlite, "mysql": _mysql, "duckdb": _duckdb}.get(dialect, _postgres)(declared)


def _mysql(declared: str) -> ColumnType:
    base, _, rest = declared.partition("(")
    name = base.split()[0] if base else ""
    family = _MYSQL_FAMILIES.get(name)
    if family is None:
        return ColumnType("unknown", declared)
    numbers = [int(n) for n in re.findall(r"\d{1,9}", rest.partition(")")[0])] if name not in ("enum", "set") else []
    first = numbers[0] if numbers else None
    # An unsigned type is one of a bit more, of which the lower half is never used.
    bits = _MYSQL_BITS.get(name, 64) + ("unsigned" in declared and family == "integer")
    return ColumnType(
        family,
        declared,
        length=first if name in ("char", "varchar") else None,
        precision=first if family == "numeric" else None,
        scale=numbers[1] if family == "numeric" and len(numbers) > 1 else 0,
        bits=bits,
    )


def _duckdb(declared: str) -> ColumnType:
    if found := _DECIMAL.fullmatch(declared):
        return ColumnType("numeric", declared, precision=int(found[1]), scale=int(found[2]))
    # An unsigned type counts as one of a bit more, of which the lower half is never used.
    return ColumnType(_DUCKDB_FAMILIES.get(declared, "unknown"), declared, bits=_DUCKDB_BITS.get(declared, 64))


def _sqlite(declared: str) -> ColumnType:
    # Any SQLite column may hold any value, so that a type of which nothing is known is masked as text.
    found: Family | None = next((family for part, family in _SQLITE_PARTS if part in declared), None)
    return ColumnType(found or "text", declared)


def _postgres(declared: str) -> ColumnType:
    modifier = _MODIFIER.search(declared)
    base = " ".join(_MODIFIER.sub(" ", declared, count=1).split())
    schema, _, name = base.rpartition(".")
    # A type of the same name in another schema is another type; citext is an extension's and lives anywhere.
    is_known = schema in ("", "pg_catalog") or (name == "citext" and _SCHEMA.fullmatch(schema) is not None)
    family = _FAMILIES.get(name) if is_known else None
    if family is None:
        element = declared.rstrip("[]")
        is_array = declared.endswith("[]") and _postgres(element).family != "unknown"
        return ColumnType("unknown", declared, is_known_array=is_array)
    first = int(modifier[1]) if modifier else None
    is_padded = name in _BLANK_PADDED
    if is_padded and name != "bpchar" and first is None:
        first = 1
    return ColumnType(
        family,
        declared,
        length=first if family == "text" else None,
        precision=first if family == "numeric" else None,
        scale=int(modifier[2] or 0) if modifier and family == "numeric" else 0,
        bits=_BITS.get(name, 64),
        is_blank_padded=is_padded and first is not None,
    )
