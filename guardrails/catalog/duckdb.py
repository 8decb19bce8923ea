"""The catalog of a live DuckDB database: every schema of the file that is open, without the engine's own and temporary relations.

Source: https://duckdb.org/docs/stable/sql/meta/duckdb_table_functions
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from guardrails.catalog.mentions import mentioned
from guardrails.catalog.view_text import view_definition
from guardrails.errors import CatalogError
from guardrails.model import Catalog, Column, Constraint, Declared, Relation

if TYPE_CHECKING:
    import duckdb

__all__ = ["duckdb_digest", "read_duckdb", "shadowing_macros"]

_HERE = "database_name = current_database() AND NOT internal"
_TABLES = f"SELECT schema_name, table_name, sql FROM system.main.duckdb_tables() WHERE {_HERE} AND NOT temporary ORDER BY ALL"  # noqa: S608
_VIEWS = f"SELECT schema_name, view_name, sql FROM system.main.duckdb_views() WHERE {_HERE} AND NOT temporary ORDER BY ALL"  # noqa: S608
_COLUMNS = f"""
    SELECT schema_name, table_name, column_name, data_type, is_nullable, column_default, is_generated, generation_expression
    FROM system.main.duckdb_columns() WHERE {_HERE} ORDER BY schema_name, table_name, column_index
"""  # noqa: S608 - constants
_KEYS = (
    "SELECT schema_name, table_name, constraint_type, constraint_column_names, referenced_table, referenced_column_names"
    " FROM system.main.duckdb_constraints()"
    " WHERE database_name = current_database() ORDER BY schema_name, table_name, constraint_index"
)
_INDEXES = (
    "SELECT schema_name, table_name, sql, is_unique FROM system.main.duckdb_indexes()"
    " WHERE database_name = current_database() ORDER BY ALL"
)
_FUNCTIONS = "SELECT function_name, internal FROM system.main.duckdb_functions()"
_TYPES = "SELECT schema_name, type_name, logical_type, labels::varchar FROM system.main.duckdb_types() WHERE NOT internal ORDER BY ALL"


def duckdb_digest(connection: duckdb.DuckDBPyConnection) -> str:
    """Returns the version of the schema: SHA-256 (hex) over the definitions of tables, views, indexes and types.

    Args:
        connection: An open connection, inside a transaction when the answer must hold for what follows.
    """
    parts = [connection.execute(q).fetchall() for q in (_TABLES, _VIEWS, _INDEXES, _TYPES)]
    return hashlib.sha256(json.dumps(parts, default=str).encode("utf-8", "surrogatepass")).hexdigest()


def shadowing_macros(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Returns the macros of users that go by the name of a built-in function or operator, and so stand in its place.

    It costs some 25 ms, as the engine makes the whole list of its functions for it.
    """
    rows = connection.execute(_FUNCTIONS).fetchall()
    built_in = {name.lower() for name, is_internal in rows if is_internal}
    return sorted({name for name, is_internal in rows if not is_internal and name.lower() in built_in})


def read_duckdb(connection: duckdb.DuckDBPyConnection) -> Catalog:
    """Reads the catalog of the database behind a connection; the caller holds a transaction.

    Raises:
        CatalogError: A view's definition is not of the form that DuckDB keeps (``sql.view_opaque``).
    """
    catalog = Catalog("duckdb", "main", {}, duckdb_digest(connection))
    columns: dict[tuple[str, str], list[Column]] = {}
    expressions: dict[tuple[str, str, str], str] = {}
    for schema, table, name, type_, nullable, default, generated, expression in connection.execute(_COLUMNS).fetchall():
        computed: Literal["", "virtual"] = "virtual" if generated else ""
        declared = Declared(type_, None if generated else default, not nullable, computed)
        columns.setdefault((schema, table), []).append(Column(name, type_.lower(), nullable, declared))
        if generated:
            expressions[schema, table, name] = expression or ""
    keys: dict[tuple[str, str], list[str]] = {}
    indexed: dict[tuple[str, str], set[str]] = {}
    constraints: dict[tuple[str, str], set[Constraint]] = {}
    for schema, table, kind, names, other, referred in connection.execute(_KEYS).fetchall():
        found = constraints.setdefault((schema, table), set())
        if kind in ("PRIMARY KEY", "UNIQUE"):
            found.add(Constraint("unique", tuple(sorted(names)), is_plain=True))
        elif kind == "CHECK":
            found.add(Constraint("check", tuple(sorted(names))))
        elif kind == "FOREIGN KEY":
            found.add(Constraint("foreign", tuple(names), refers_to=catalog.key(schema, other), referred=tuple(referred)))
        if kind == "PRIMARY KEY":
            keys[schema, table] = list(names)
        if kind in ("PRIMARY KEY", "UNIQUE", "FOREIGN KEY"):
            indexed.setdefault((schema, table), set()).update(names)
    for schema, table, sql, is_unique in connection.execute(_INDEXES).fetchall():
        known = [c.name for c in columns.get((schema, table), ())]
        indexed.setdefault((schema, table), set()).update(mentioned(sql or "", known))
        if is_unique:
            # The text has parentheses around what is an expression, and none where a column stands as it is.
            parts = (sql or "").partition("(")[2]
            used, is_plain = mentioned(parts, known), "(" not in parts
            constraints.setdefault((schema, table), set()).add(Constraint("unique", tuple(sorted(used)), is_plain))
    relations: dict[str, Relation] = {}
    for schema, name, _ in connection.execute(_TABLES).fetchall():
        own = tuple(
            _with_bases(c, columns[schema, name], expressions.get((schema, name, c.name))) for c in columns[schema, name]
        )
        relations[catalog.key(schema, name)] = Relation(
            schema,
            name,
            "table",
            own,
            tuple(keys.get((schema, name), ())),
            frozenset(indexed.get((schema, name), ())),
            constraints=tuple(sorted(constraints.get((schema, name), ()))),
        )
    for schema, name, sql in connection.execute(_VIEWS).fetchall():
        definition = view_definition(sql or "")
        if definition is None:
            message = f"The definition of the view {name} is not understood."
            raise CatalogError("sql.view_opaque", message, evidence={"view": name})
        shown = tuple(columns.get((schema, name), ()))
        relations[catalog.key(schema, name)] = Relation(schema, name, "view", shown, definition=definition)
    return Catalog("duckdb", "main", dict(sorted(relations.items())), catalog.version)


def _with_bases(column: Column, columns: list[Column], expression: str | None) -> Column:
    if expression is None:
        return column
    others = [c.name for c in columns if c.name != column.name]
    return replace(column, computed_from=tuple(n for n in others if n in mentioned(expression, others)))
