"""A catalog from DDL files of engines that are judged only: CREATE TABLE, CREATE VIEW and CREATE INDEX, as the parser reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from sqlglot import exp
from sqlglot.errors import SqlglotError

from guardrails.errors import CatalogError
from guardrails.model import Catalog, Column, Constraint, Declared, DialectName, Relation, RelationKind
from guardrails.sql.ddl_constraints import bind_references
from guardrails.sql.dialects import EngineDialect, dialect_of
from guardrails.sql.judged_constraints import constraints_of

__all__ = ["judged_catalog"]


def judged_catalog(text: str, dialect: DialectName) -> Catalog:
    """Reads a schema from DDL text.

    Args:
        text: Statements separated by semicolons; others than CREATE TABLE, VIEW and INDEX are passed over.
        dialect: Whose SQL it is.

    Returns:
        The catalog; its version is a digest of the text.

    Raises:
        CatalogError: The text does not parse (``usage.input_invalid``).
    """
    rules = dialect_of(dialect)
    try:
        statements = rules.sqlglot.parse(text)
    except (SqlglotError, RecursionError) as error:
        raise CatalogError("usage.input_invalid", "The schema file does not parse.", evidence={"error": str(error)}) from None
    catalog = Catalog(dialect, rules.default_schema, {}, hashlib.sha256(text.encode()).hexdigest())
    relations: dict[str, Relation] = {}
    for statement in statements:
        if isinstance(statement, exp.Create):
            _add(statement, rules, catalog, relations)
    bound = {key: bind_references(relation, relations) for key, relation in relations.items()}
    return Catalog(dialect, catalog.default_schema, bound, catalog.version)


def _add(create: exp.Create, rules: EngineDialect, catalog: Catalog, relations: dict[str, Relation]) -> None:
    kind = str(create.args.get("kind") or "").upper()
    if kind == "INDEX":
        _add_index(create, rules, catalog, relations)
    elif kind in ("TABLE", "VIEW"):
        relation = _table(create, rules, catalog) if kind == "TABLE" else _view(create, rules, catalog, relations)
        relations[catalog.key(relation.schema, relation.name)] = relation


def _name(table: exp.Table, rules: EngineDialect, catalog: Catalog) -> tuple[str, str]:
    schema = table.args.get("db")
    return (_fold(schema, rules) if schema else catalog.default_schema), _fold(table.this, rules)


def _key(table: exp.Table, rules: EngineDialect, catalog: Catalog) -> str:
    return catalog.key(*_name(table, rules, catalog))


def _fold(identifier: exp.Identifier, rules: EngineDialect) -> str:
    """SQLite keeps the spelling of the declaration, PostgreSQL folds what is not quoted."""
    return str(identifier.this) if rules.is_quoted_folded else rules.fold(identifier)


def _table(create: exp.Create, rules: EngineDialect, catalog: Catalog) -> Relation:
    schema = create.this
    if not isinstance(schema, exp.Schema):
        raise CatalogError("usage.input_invalid", "The schema file has a CREATE TABLE without a column list.")
    where, name = _name(schema.this, rules, catalog)
    columns: list[Column] = []
    keys: list[str] = []
    indexed: set[str] = set()
    computed: dict[str, set[str]] = {}
    for item in schema.expressions:
        if isinstance(item, exp.ColumnDef):
            column = _fold(item.this, rules)
            kinds = [c.kind for c in item.args.get("constraints") or []]
            is_key = any(isinstance(k, exp.PrimaryKeyColumnConstraint) for k in kinds)
            is_not_null = any(isinstance(k, exp.NotNullColumnConstraint) and not k.args.get("allow_null") for k in kinds)
            default = next((k.this.sql(rules.sqlglot) for k in kinds if isinstance(k, exp.DefaultColumnConstraint)), None)
            data_type = item.args.get("kind")
            type_text = data_type.sql(rules.sqlglot) if data_type else ""
            declared = Declared(type_text, default, is_not_null, _generated(kinds))
            inside = (i for k in kinds if isinstance(k, exp.ComputedColumnConstraint) for i in k.find_all(exp.Identifier))
            computed[column] = {rules.fold_name(_fold(i, rules)) for i in inside}
            columns.append(Column(column, type_text.lower(), not is_key and not is_not_null, declared))
            keys += [column] if is_key else []
            indexed |= {column} if is_key or any(isinstance(k, exp.UniqueColumnConstraint) for k in kinds) else set()
        elif isinstance(item, (exp.PrimaryKey, exp.UniqueColumnConstraint, exp.Constraint)):
            names = [_fold(i, rules) for i in item.find_all(exp.Identifier)]
            named = [n for n in names if n in {c.name for c in columns}]
            indexed |= set(named)
            if isinstance(item, exp.PrimaryKey) or item.find(exp.PrimaryKey):
                keys += named
    columns = [
        replace(c, computed_from=tuple(o.name for o in columns if rules.fold_name(o.name) in computed[c.name])) for c in columns
    ]
    key_of = partial(_key, rules=rules, catalog=catalog)
    constraints = constraints_of(schema, rules.name, partial(_fold, rules=rules), key_of)
    return Relation(
        where, name, "table", tuple(columns), tuple(keys), frozenset(indexed), constraints=tuple(sorted(constraints))
    )


def _generated(kinds: Sequence[exp.Expr]) -> Literal["", "virtual", "stored"]:
    computed = next((k for k in kinds if isinstance(k, exp.ComputedColumnConstraint)), None)
    return "" if computed is None else "stored" if computed.args.get("persisted") else "virtual"


def _view(create: exp.Create, rules: EngineDialect, catalog: Catalog, relations: dict[str, Relation]) -> Relation:
    from guardrails.model import Statement
    from guardrails.sql.parse import parse
    from guardrails.sql.resolve import resolve

    this, query = create.this, create.expression
    if query is None:
        raise CatalogError("usage.input_invalid", "The schema file has a CREATE VIEW without a query.")
    table = this.this if isinstance(this, exp.Schema) else this
    where, name = _name(table, rules, catalog)
    definition = query.sql(rules.sqlglot)
    named = (
        [_fold(c.this if isinstance(c, exp.ColumnDef) else c, rules) for c in this.expressions]
        if isinstance(this, exp.Schema)
        else []
    )
    if not named:
        partial = Catalog(catalog.dialect, catalog.default_schema, relations)
        resolved = resolve(parse(Statement(definition, {}, catalog.dialect)), partial)
        named = [c.name for c in resolved.access.returned]
    is_materialized = any(isinstance(p, exp.MaterializedProperty) for p in create.find_all(exp.MaterializedProperty))
    kind: RelationKind = "materialized_view" if is_materialized else "view"
    return Relation(where, name, kind, tuple(Column(n) for n in named), definition=definition)


def _add_index(create: exp.Create, rules: EngineDialect, catalog: Catalog, relations: dict[str, Relation]) -> None:
    index = create.this
    table = index.args.get("table") if isinstance(index, exp.Index) else None
    if table is None:
        return
    key = catalog.key(*_name(table, rules, catalog))
    relation = relations.get(key)
    if relation is None:
        return
    # Every column that the index mentions counts, in expressions and conditions too.
    mentioned = {_fold(i, rules) for i in index.find_all(exp.Identifier)} & set(relation.column_names)
    indexed = relation.indexed_columns | mentioned
    unique = {Constraint("unique", tuple(sorted(mentioned)))} if create.args.get("unique") else set()
    constraints = tuple(sorted({*relation.constraints, *unique}))
    relations[key] = replace(relation, indexed_columns=indexed, constraints=constraints)
