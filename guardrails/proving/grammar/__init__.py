"""A grammar of statements that are valid by construction for a schema: hundreds of shapes, for each engine its own.

`query` and `any_statement` make one from choices (see `choices`): a seeded random for bulk, hypothesis or `shrink` for short ones. What
differs between engines is data (`Flavour`); another engine is another module of templates and a line in `FLAVOURS`.
"""

from __future__ import annotations

from guardrails.proving.grammar.choices import Choose, seeded
from guardrails.proving.grammar.flavour import Flavour, quoted
from guardrails.proving.grammar.flavour_duckdb import DUCKDB
from guardrails.proving.grammar.flavour_mysql import MYSQL
from guardrails.proving.grammar.flavour_postgres import POSTGRES
from guardrails.proving.grammar.flavour_sqlite import SQLITE
from guardrails.proving.grammar.schema import Hierarchy, Schema
from guardrails.proving.grammar.shrink import shrink
from guardrails.proving.grammar.statements_mysql import MysqlWrites
from guardrails.proving.grammar.writes import Writes

__all__ = [
    "FLAVOURS",
    "Choose",
    "Flavour",
    "Hierarchy",
    "Schema",
    "any_statement",
    "change",
    "query",
    "quoted",
    "seeded",
    "shrink",
]

FLAVOURS: dict[str, Flavour] = {f.name: f for f in (POSTGRES, SQLITE, MYSQL, DUCKDB)}
"""By dialect, over an empty schema."""
_MAKERS: dict[str, type[Writes]] = {"mysql": MysqlWrites}
"""Makers of engines that have statements of their own."""


def query(choose: Choose, flavour: Flavour, *, depth: int = 2, is_ordered: bool = False) -> str:
    """Returns a SELECT without effects, of so many levels; `is_ordered`: its rows are the same whatever plan the engine chooses."""
    return _maker(flavour)(choose, flavour, is_ordered=is_ordered).statement(depth)


def change(choose: Choose, flavour: Flavour) -> str:
    """Returns a statement that changes data."""
    return _maker(flavour)(choose, flavour).change()


def any_statement(choose: Choose, flavour: Flavour) -> str:
    """Returns a statement of any sort: mostly queries, some with something hostile inside, changes, and what is never allowed."""
    sort = choose(20)
    if sort < 12:
        return _maker(flavour)(choose, flavour).statement()
    if sort < 15:
        return _maker(flavour)(choose, flavour, is_hostile=True).statement()
    if sort < 19:
        writes = _maker(flavour)(choose, flavour, is_hostile=sort == 18)
        if "data_ctes" in flavour.features and choose(6) == 5:
            return writes.query_with_change()
        return writes.change()
    return flavour.hostile_statements[choose(len(flavour.hostile_statements))]


def _maker(flavour: Flavour) -> type[Writes]:
    return _MAKERS.get(flavour.name, Writes)
