"""Dialects that are judged only: `guardrails check` decides about their statements, nothing here runs them (see docs/decisions/0014)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from guardrails.model import DialectName
from guardrails.sql.dialects.base import EngineDialect
from guardrails.sql.dialects.judged import bigquery, databricks, oracle, redshift, snowflake, trino, tsql

__all__ = ["JUDGED"]

JUDGED: Mapping[DialectName, Callable[[], EngineDialect]] = {
    "tsql": tsql.engine_dialect,
    "snowflake": snowflake.engine_dialect,
    "bigquery": bigquery.engine_dialect,
    "redshift": redshift.engine_dialect,
    "databricks": databricks.engine_dialect,
    "oracle": oracle.engine_dialect,
    "trino": trino.engine_dialect,
}
"""The rules by dialect."""
