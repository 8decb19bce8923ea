"""What values may be, and the words that name engines, actions and kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Literal, TypeAlias
from uuid import UUID

__all__ = [
    "Action",
    "ConstraintKind",
    "DialectName",
    "Effect",
    "Given",
    "GrantKind",
    "ImpactMode",
    "IndexUse",
    "Opaque",
    "Params",
    "PredicateMode",
    "RelationKind",
    "RequestKind",
    "Row",
    "StatementKind",
    "Value",
    "Verification",
]

Value: TypeAlias = (
    bool
    | int
    | float
    | str
    | bytes
    | Decimal
    | datetime
    | date
    | time
    | timedelta
    | UUID
    | list["Value"]
    | dict[str, "Value"]
    | None
)
"""What a parameter or a result cell may be."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """Stands for an argument that is no data, such as a connection: nothing can be said of it but its type."""

    type_name: str

    def __repr__(self) -> str:
        return f"<{self.type_name}>"


Given: TypeAlias = Value | Opaque
"""What an argument of a call may be."""
Row: TypeAlias = tuple[Value, ...]
Params: TypeAlias = Mapping[str, Value] | Sequence[Value]

DialectName: TypeAlias = Literal[
    "sqlite", "postgres", "mysql", "duckdb", "tsql", "snowflake", "bigquery", "redshift", "databricks", "oracle", "trino"
]
"""Whose SQL it is; `mysql` is MariaDB too. From `tsql` on, statements are judged only: nothing here runs them."""
Effect: TypeAlias = Literal["allow", "deny", "approve"]
Action: TypeAlias = str
"""`select`, `insert`, `update`, `delete`, a DDL verb such as `drop` or `create`, or the name of a tool or an action."""
StatementKind: TypeAlias = Literal[
    "select", "insert", "update", "delete", "merge", "create", "drop", "alter", "truncate", "explain", "show", "other"
]  # fmt: skip
PredicateMode: TypeAlias = Literal["masked", "equality", "real"]
"""What conditions see of a protected column: the masked value, or the real one in comparisons for equality or in all simple ones."""
IndexUse: TypeAlias = Literal["any", "fetching", "bitmap"]
"""How a plan may use indexes: in any way, not without fetching the rows from the table, or as bitmaps of rows alone."""
RelationKind: TypeAlias = Literal["table", "view", "materialized_view", "foreign_table"]
RequestKind: TypeAlias = Literal["statement", "action", "reveal", "grant"]
GrantKind: TypeAlias = Literal["approval", "window", "break_glass"]
ImpactMode: TypeAlias = Literal["count", "estimate", "none"]
Verification: TypeAlias = Literal["unverified", "jwt", "proxy", "spiffe"]
"""How a principal is known: merely named, from a checked token, from a trusted proxy's signed header, from a workload's document."""
ConstraintKind: TypeAlias = Literal["unique", "exclude", "check", "foreign", "trigger"]
