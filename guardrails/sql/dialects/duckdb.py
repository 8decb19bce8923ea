"""DuckDB: nodes, functions and types that are understood."""

from __future__ import annotations

from sqlglot.dialects.duckdb import DuckDB

from guardrails.sql.dialects.base import EngineDialect, function_names

__all__ = ["engine_dialect"]


def engine_dialect() -> EngineDialect:
    """Returns DuckDB's rules."""
    return EngineDialect(
        name="duckdb",
        sqlglot=DuckDB(),
        functions=function_names("duckdb"),
        table_functions={},
        nodes=frozenset(),
        types=frozenset(),
        is_quoted_folded=True,
        labels="duckdb",
        names_seen="everywhere",
        has_row_values=True,
        default_schema="main",
    )
