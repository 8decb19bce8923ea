"""What exists in a database: read from the live engine, or from DDL text."""

from guardrails.catalog.ddl import from_ddl
from guardrails.catalog.duckdb import duckdb_digest, read_duckdb, shadowing_macros
from guardrails.catalog.mysql import mysql_digests, mysql_version, read_mysql, stored_functions, versions_of
from guardrails.catalog.postgres import postgres_digest, read_postgres
from guardrails.catalog.postgres_placed import OWN_COLUMNS, read_placed, read_placed_columns
from guardrails.catalog.sqlite import read_sqlite, sqlite_digest

__all__ = [
    "OWN_COLUMNS",
    "duckdb_digest",
    "from_ddl",
    "mysql_digests",
    "mysql_version",
    "postgres_digest",
    "read_duckdb",
    "read_mysql",
    "read_placed",
    "read_placed_columns",
    "read_postgres",
    "read_sqlite",
    "shadowing_macros",
    "sqlite_digest",
    "stored_functions",
    "versions_of",
]
