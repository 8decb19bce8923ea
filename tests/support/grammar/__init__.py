"""The grammar of `guardrails.proving.grammar` over one schema, with statements of every sort, hostile ones too."""

from __future__ import annotations

from guardrails.proving.grammar import Choose, Flavour, any_statement, query, seeded
from tests.support.grammar.flavour_duckdb import DUCKDB
from tests.support.grammar.flavour_mysql import MYSQL
from tests.support.grammar.flavour_postgres import POSTGRES
from tests.support.grammar.flavour_sqlite import SQLITE
from tests.support.grammar.schema import ddl, rows
from tests.support.grammar.shapes import shape

__all__ = ["FLAVOURS", "Choose", "Flavour", "any_statement", "ddl", "query", "rows", "seeded", "shape"]

FLAVOURS: dict[str, Flavour] = {f.name: f for f in (POSTGRES, SQLITE, MYSQL, DUCKDB)}
