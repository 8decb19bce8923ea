"""The schema as relations that are answered from the catalog, never by the engine: one module an engine says which there are.

A reference to one of them stays in the resolved tree as a node that `schema_relation` knows again; `guardrails.sql.rewrite` puts the
rows in its place that the principal may see. So the engine's own system tables are never named in what runs.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Catalog, DialectName
from guardrails.sql.metadata.base import EngineSchema, SchemaRelation
from guardrails.sql.metadata.duckdb import DUCKDB
from guardrails.sql.metadata.mysql import MYSQL
from guardrails.sql.metadata.postgres import POSTGRES
from guardrails.sql.metadata.sqlite import SQLITE

__all__ = [
    "arguments_of",
    "column_names",
    "described_names",
    "find_function",
    "find_relation",
    "is_schema_function",
    "readable",
    "schema_relation",
]

_META = "gr_schema"
"""Key in a Table node's `meta`: what it describes."""
_ENGINES: Mapping[DialectName, EngineSchema] = {"duckdb": DUCKDB, "mysql": MYSQL, "postgres": POSTGRES, "sqlite": SQLITE}
_NOTHING = EngineSchema({})


def find_relation(node: exp.Table, schema: str | None, name: str, catalog: Catalog) -> SchemaRelation | None:
    """Returns the relation that describes the schema under a folded name, and marks the node; None when there is none."""
    engine = _engine(catalog.dialect)
    key = f"{schema or engine.implicit_schema or catalog.default_schema}.{name}"
    found = engine.relations.get(key)
    if found is not None:
        node.meta[_META] = key
    return found


def find_function(node: exp.Expr, name: str, dialect: DialectName) -> SchemaRelation | None:
    """As `find_relation`, for a function in FROM."""
    engine = _engine(dialect)
    found = engine.functions.get(name) or engine.statements.get(name)
    if found is not None:
        node.meta[_META] = f"{name}()"
    return found


def is_schema_function(name: str, dialect: DialectName) -> bool:
    """Whether a statement may call a function of that name in FROM to read the schema."""
    return name in _engine(dialect).functions


def schema_relation(node: exp.Table, dialect: DialectName) -> SchemaRelation | None:
    """Returns what a marked node of a resolved tree stands for, None for any other node."""
    key = node.meta.get(_META)
    if key is None:
        return None
    engine = _engine(dialect)
    name = str(key).removesuffix("()")
    return engine.relations[key] if key in engine.relations else engine.functions.get(name) or engine.statements[name]


def arguments_of(node: exp.Expr) -> tuple[exp.Expr | None, str | None]:
    """Returns what a function's call selects by, and the schema that it names; None for what is not there.

    Raises:
        StatementError: There are other arguments.
    """
    given: list[exp.Expr] = list(node.this.expressions) if isinstance(node.this, exp.Anonymous) else []
    if len(given) > 2 or not all(isinstance(a, exp.Literal) for a in given[1:]):
        raise StatementError("sql.construct_unsupported", "The function takes the name of a relation.")
    first = given[0] if given and not isinstance(given[0], exp.Null) else None
    return first, given[1].name if len(given) > 1 else None


def column_names(node: exp.Expr, relation: SchemaRelation, catalog: Catalog) -> list[str]:
    """Returns the names of the columns that a reference has."""
    first, schema = arguments_of(node)
    words = {"{schema}": schema or catalog.default_schema, "{pattern}": first.name if first is not None else ""}
    names = list(relation.fields)
    for word, text in words.items():
        names = [name.replace(word, text) for name in names]
    return names


def described_names(tree: exp.Expr) -> frozenset[str]:
    """Returns the names by which a resolved tree refers to relations that describe the schema, with their schema if it has one."""
    tables = (t for t in tree.find_all(exp.Table) if _META in t.meta and isinstance(t.this, exp.Identifier))
    return frozenset(f"{t.db}.{t.name}" if t.db else t.name for t in tables)


def readable(dialect: DialectName) -> str:
    """Returns a hint that says what of a schema can be read; empty when nothing can."""
    engine = _engine(dialect)
    names = [*engine.relations, *(f"{name}()" for name in engine.functions)]
    return f"Of the schema these can be read: {', '.join(names)}." if names else ""


def _engine(dialect: DialectName) -> EngineSchema:
    return _ENGINES.get(dialect, _NOTHING)
