"""Reflection for SQLAlchemy (`inspect`, `Table(autoload_with=…)`), answered from the guard's catalog: what the principal may read.

Defaults, comments, CHECK conditions and definitions of views are not told: they may hold values, or name what is hidden.
"""
# ruff: noqa: ARG002  SQLAlchemy gives the methods their arguments

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy import types
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import NoSuchTableError

from guardrails.adapters.executor import Executor
from guardrails.model import Column, Constraint
from guardrails.policy import SeenRelation

__all__ = ["Reflection"]

_TYPE = re.compile(r"(?P<name>[a-z_][a-z_0-9 ]*)(?:\((?P<arguments>[^()]*)\)(?P<rest>[a-z ]*))?(?P<array>(?:\[\])*)\Z")
_OTHERS = frozenset({"view", "materialized_view", "foreign_table"})
_STRINGS = re.compile(r"'((?:[^']|'')*)'")


class Reflection(DefaultDialect):
    """What a dialect is asked about the schema.

    Attributes:
        guard: Tells what of it whoever is in session may read.
    """

    guard: Executor

    get_multi_columns = DefaultDialect.get_multi_columns
    get_multi_pk_constraint = DefaultDialect.get_multi_pk_constraint
    get_multi_foreign_keys = DefaultDialect.get_multi_foreign_keys
    get_multi_indexes = DefaultDialect.get_multi_indexes
    get_multi_unique_constraints = DefaultDialect.get_multi_unique_constraints
    get_multi_check_constraints = DefaultDialect.get_multi_check_constraints
    get_multi_table_comment = DefaultDialect.get_multi_table_comment
    get_multi_table_options = DefaultDialect.get_multi_table_options
    has_index = DefaultDialect.has_index

    def get_schema_names(self, connection: Any, **kw: Any) -> list[str]:
        return sorted({self._default_schema()} | {s.relation.schema for s in self.guard.seen()})

    def has_schema(self, connection: Any, schema_name: str, **kw: Any) -> bool:
        return schema_name in self.get_schema_names(connection)

    def get_table_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        # SQLite's virtual tables are tables to SQLAlchemy.
        others = _OTHERS - {"foreign_table"} if self.name == "sqlite" else _OTHERS
        return [s.relation.name for s in self._relations(schema) if s.relation.kind not in others]

    def get_view_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        return self._names(schema, "view")

    def get_materialized_view_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        return self._names(schema, "materialized_view")

    def get_foreign_table_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        return self._names(schema, "foreign_table")

    def get_temp_table_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        return []

    def get_temp_view_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        return []

    def get_sequence_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        return []

    def has_sequence(self, connection: Any, sequence_name: str, schema: str | None = None, **kw: Any) -> bool:
        return False

    def get_enums(self, connection: Any, schema: str | None = None, **kw: Any) -> list[Any]:
        return []

    def get_domains(self, connection: Any, schema: str | None = None, **kw: Any) -> list[Any]:
        return []

    def has_type(self, connection: Any, type_name: str, schema: str | None = None, **kw: Any) -> bool:
        return False

    def has_table(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> bool:
        return any(s.relation.name == table_name for s in self._relations(schema))

    def has_multi_table(self, connection: Any, table_names: Any, schema: str | None = None, **kw: Any) -> Any:
        return [((schema, name), self.has_table(connection, name, schema)) for name in table_names]

    def get_columns(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> list[Any]:
        seen = self._relation(table_name, schema)
        return [self._column(seen, column.column) for column in seen.columns]

    def get_pk_constraint(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        return {"constrained_columns": list(self._relation(table_name, schema).primary_key), "name": None}

    def get_foreign_keys(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> list[Any]:
        shown, default = {s.key: s for s in self.guard.seen()}, self._default_schema()
        found: list[Any] = []
        for constraint in _constraints(self._relation(table_name, schema), "foreign"):
            referred = shown.get(constraint.refers_to)
            if referred is None or not _names_of(referred).issuperset(constraint.referred):
                continue
            is_named = schema is not None or referred.relation.schema != default
            found.append(
                {
                    "name": None,
                    "constrained_columns": list(constraint.columns),
                    "referred_schema": referred.relation.schema if is_named else None,
                    "referred_table": referred.relation.name,
                    "referred_columns": list(constraint.referred),
                    "options": {},
                }
            )
        return found

    def get_indexes(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> list[Any]:
        # Which columns an index has, and in which order, is not kept in the form that SQLAlchemy asks for.
        self._relation(table_name, schema)
        return []

    def get_unique_constraints(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> list[Any]:
        seen = self._relation(table_name, schema)
        key = tuple(sorted(seen.primary_key))
        unique = (c for c in _constraints(seen, "unique") if c.is_plain and c.columns != key)
        return [{"name": None, "column_names": list(c.columns)} for c in unique]

    def get_check_constraints(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> list[Any]:
        self._relation(table_name, schema)
        return []

    def get_table_comment(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        self._relation(table_name, schema)
        return {"text": None}

    def get_table_options(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        self._relation(table_name, schema)
        return {}

    def get_view_definition(self, connection: Any, view_name: str, schema: str | None = None, **kw: Any) -> str:
        # It would name what the view hides.
        self._relation(view_name, schema)
        return ""

    def _default_schema(self) -> str:
        return self.guard.database.catalog().default_schema

    def _relations(self, schema: str | None) -> list[SeenRelation]:
        wanted = self._default_schema() if schema is None else schema
        return sorted((s for s in self.guard.seen() if s.relation.schema == wanted), key=lambda s: s.relation.name)

    def _names(self, schema: str | None, kind: str) -> list[str]:
        return [s.relation.name for s in self._relations(schema) if s.relation.kind == kind]

    def _relation(self, name: str, schema: str | None) -> SeenRelation:
        for seen in self._relations(schema):
            if seen.relation.name == name:
                return seen
        raise NoSuchTableError(f"{schema}.{name}" if schema else name)

    def _column(self, seen: SeenRelation, column: Column) -> dict[str, Any]:
        described: dict[str, Any] = {
            "name": column.name,
            "type": self._type(column),
            "nullable": column.is_nullable and column.name not in seen.primary_key,
            "default": None,
            "autoincrement": "auto",
            "comment": None,
        }
        if column.name in seen.primary_key:
            described["primary_key"] = seen.primary_key.index(column.name) + 1
        return described

    def _type(self, column: Column) -> Any:
        declared = column.declared.type if column.declared is not None and column.declared.type else column.type
        found = _TYPE.match(declared.strip().lower())
        name = " ".join(found["name"].split()) if found is not None else ""
        if self.name == "sqlite":
            return _sqlite_type(self, declared)
        if found is None:
            return types.NullType()
        rest = " ".join((found["rest"] or "").split())
        kind = _KINDS[self.name].get(f"{name} {rest}".strip()) or _KINDS[self.name].get(name)
        if kind is None:
            return types.NullType()
        made = _made(kind, found["arguments"], declared, with_time_zone="with time zone" in f"{name} {rest}")
        return postgresql.ARRAY(made) if found["array"] else made


def _names_of(seen: SeenRelation) -> frozenset[str]:
    return frozenset(column.column.name for column in seen.columns)


def _constraints(seen: SeenRelation, kind: str) -> list[Constraint]:
    """Those of which every column is seen."""
    names = _names_of(seen)
    return [c for c in seen.relation.constraints if c.kind == kind and names.issuperset(c.columns)]


def _sqlite_type(dialect: Any, declared: str) -> Any:
    return dialect._resolve_type_affinity(declared.upper())


def _made(kind: Any, arguments: str | None, declared: str, *, with_time_zone: bool) -> Any:
    """An instance of a type, with the length, precision, scale or values that were declared."""
    if issubclass(kind, sa.Enum) or kind is mysql.SET:
        return kind(*(text.replace("''", "'") for text in _STRINGS.findall(declared)))
    numbers = [int(part) for part in (arguments or "").split(",") if part.strip().isdigit()]
    if issubclass(kind, (types.DateTime, types.Time)) and not issubclass(kind, (mysql.DATETIME, mysql.TIMESTAMP, mysql.TIME)):
        return kind(timezone=with_time_zone)
    if issubclass(kind, (types.String, types.LargeBinary, types.Numeric, mysql.BIT, mysql.TINYINT)) and numbers:
        return kind(*numbers)
    return kind()


_POSTGRES: dict[str, Any] = dict(postgresql.base.ischema_names) | {
    "float4": postgresql.REAL,
    "float8": postgresql.DOUBLE_PRECISION,
}
_MYSQL: dict[str, Any] = dict(mysql.base.ischema_names)
_DUCKDB: dict[str, Any] = {
    "bigint": types.BigInteger,
    "blob": types.LargeBinary,
    "boolean": types.Boolean,
    "date": types.Date,
    "decimal": types.Numeric,
    "double": types.Double,
    "enum": sa.Enum,
    "float": types.Float,
    "hugeint": types.Numeric,
    "integer": types.Integer,
    "interval": types.Interval,
    "json": types.JSON,
    "smallint": types.SmallInteger,
    "time": types.Time,
    "timestamp": types.DateTime,
    "timestamp with time zone": types.DateTime,
    "tinyint": types.SmallInteger,
    "ubigint": types.BigInteger,
    "uinteger": types.BigInteger,
    "usmallint": types.Integer,
    "utinyint": types.SmallInteger,
    "uuid": types.Uuid,
    "varchar": types.String,
}
_KINDS: dict[str, dict[str, Any]] = {
    "postgresql": _POSTGRES,
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "duckdb": _DUCKDB,
    "sqlite": dict(sqlite.base.ischema_names),
}
