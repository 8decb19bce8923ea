"""MySQL and MariaDB: nodes, functions and types that are understood."""

from __future__ import annotations

from sqlglot.dialects.mysql import MySQL

from guardrails.sql.dialects.base import EngineDialect, Fence, function_names

__all__ = ["engine_dialect"]


def engine_dialect() -> EngineDialect:
    """Returns MySQL and MariaDB's rules."""
    return EngineDialect(
        name="mysql",
        sqlglot=MySQL(),
        functions=function_names("mysql"),
        table_functions={},
        nodes=frozenset(),
        types=frozenset(),
        is_quoted_folded=True,
        has_row_values=False,
        labels="mysql",
        are_merged_first=True,
        names_seen="having",
        fence=Fence(limit=2**63 - 1, offset=None),
        default_schema="",
    )
