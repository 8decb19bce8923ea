"""What a column's declared type means in the dialects that are judged only, by the types' names in the vendors' documentation.

Sources: https://learn.microsoft.com/en-us/sql/t-sql/data-types/data-types-transact-sql,
https://docs.snowflake.com/en/sql-reference-data-types, https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types,
https://docs.aws.amazon.com/redshift/latest/dg/c_Supported_data_types.html,
https://docs.databricks.com/en/sql/language-manual/sql-ref-datatypes.html,
https://docs.oracle.com/en/database/oracle/oracle-database/23/sqlrf/Data-Types.html, https://trino.io/docs/current/language/types.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from guardrails.masking.types import ColumnType, Family, column_type
from guardrails.model import Column, DialectName

__all__ = ["JUDGED_TYPES", "declared_type", "judged_type"]

_TYPE = re.compile(
    r"([a-z_][a-z0-9_ ]*?)\s*(?:\(\s*(\d{1,5}|max)\s*(?:(?:char|byte)\s*)?(?:,\s*(\d{1,3})\s*)?\))?( with(?:out)? time zone)?"
)
_BITS = {"tinyint": 8, "byteint": 8, "smallint": 16, "int2": 16, "integer": 32, "int": 32, "int4": 32, "float4": 32}


def _families(**names: str) -> dict[str, Family]:
    known: dict[str, Family] = {
        "text": "text", "integer": "integer", "numeric": "numeric", "float": "float", "boolean": "boolean", "date": "date",
        "timestamp": "timestamp", "timestamptz": "timestamptz", "time": "time", "uuid": "uuid",
    }  # fmt: skip
    return {name: known[family] for family, listed in names.items() for name in listed.split(",")}


JUDGED_TYPES: Mapping[DialectName, Mapping[str, Family]] = {
    "tsql": _families(
        text="char,varchar,nchar,nvarchar", integer="bigint,int,integer,smallint", numeric="decimal,numeric", float="float",
        boolean="bit", date="date", timestamp="datetime,datetime2,smalldatetime", timestamptz="datetimeoffset", time="time",
        uuid="uniqueidentifier",
    ),
    "snowflake": _families(
        text="varchar,char,character,string,text,nvarchar", integer="int,integer,bigint,smallint,tinyint,byteint",
        numeric="number,decimal,numeric", float="float,float4,float8,double,double precision,real", boolean="boolean", date="date",
        timestamp="timestamp,timestamp_ntz,timestampntz,datetime", timestamptz="timestamp_tz,timestamptz,timestamp_ltz,timestampltz",
        time="time",
    ),
    "bigquery": _families(
        text="string", integer="int64,int,integer,bigint,smallint", numeric="numeric,decimal,bignumeric,bigdecimal", float="float64",
        boolean="bool,boolean", date="date", timestamp="datetime", timestamptz="timestamp", time="time",
    ),
    "redshift": _families(
        text="char,character,varchar,character varying,bpchar", integer="smallint,int2,int,integer,int4,bigint,int8",
        numeric="decimal,numeric", float="real,float4,float,float8,double precision", boolean="boolean,bool", date="date",
        timestamp="timestamp,timestamp without time zone", timestamptz="timestamptz,timestamp with time zone", time="time",
    ),
    "databricks": _families(
        text="string,varchar,char", integer="tinyint,byte,smallint,short,int,integer,bigint,long", numeric="decimal,dec,numeric",
        float="float,real,double", boolean="boolean", date="date", timestamp="timestamp_ntz,timestampntz", timestamptz="timestamp",
    ),
    "oracle": _families(
        text="varchar2,nvarchar2,varchar,char,nchar", integer="int,integer,smallint", numeric="number,decimal,numeric", float="float",
        date="date", timestamp="timestamp",
    ),
    "trino": _families(
        text="varchar,char", integer="tinyint,smallint,int,integer,bigint", numeric="decimal", float="real,double", boolean="boolean",
        date="date", timestamp="timestamp", timestamptz="timestamp with time zone", time="time", uuid="uuid",
    ),
}  # fmt: skip
"""By dialect, what a type's name without its modifiers means."""


def declared_type(column: Column, dialect: DialectName) -> ColumnType:
    """Returns what `column.type` means in any dialect."""
    return judged_type(column, dialect) if dialect in JUDGED_TYPES else column_type(column, dialect)


def judged_type(column: Column, dialect: DialectName) -> ColumnType:
    """Returns what `column.type` means in a dialect of `JUDGED_TYPES`."""
    declared = " ".join(column.type.lower().split())
    found = _TYPE.fullmatch(declared)
    name = f"{found[1]}{found[4] or ''}" if found else ""
    family = JUDGED_TYPES[dialect].get(name)
    if found is None or family is None:
        return ColumnType("unknown", declared)
    first = int(found[2]) if found[2] and found[2].isdigit() else None
    is_sized = dialect != "bigquery" and not (dialect == "databricks" and family == "text")
    is_text = family == "text"
    return ColumnType(
        family,
        declared if is_sized else name,
        length=(first or (None if found[2] else _default_length(name, dialect))) if is_text else None,
        precision=first if family == "numeric" else None,
        scale=int(found[3] or 0) if family == "numeric" else 0,
        bits=_BITS.get(name, 64) if dialect != "bigquery" else 64,
    )


def _default_length(name: str, dialect: DialectName) -> int | None:
    """Characters of a type without a length: `char` holds one."""
    if name in ("char", "character", "nchar"):
        return 1
    return 1 if dialect == "tsql" else None
