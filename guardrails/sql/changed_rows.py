"""Which rows a change would change, as queries: the target and what it is joined with, under the change's own conditions.

What a change reads is evaluated by a query as the change itself would (SQL:2016, 14.11 and 14.14): before any row is changed. So these
queries show the rows that UPDATE and DELETE would find; what constraints, triggers and conflicts do to that, only a rehearsal tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Catalog, Plan, Value
from guardrails.sql.dialects import EngineDialect, dialect_of
from guardrails.sql.params import number_params
from guardrails.sql.parse import generate, parse_tree
from guardrails.sql.tokens import tokenize

__all__ = [
    "CountQuery",
    "Modification",
    "as_table",
    "changed_rows",
    "count_queries",
    "give_ctes",
    "modifications",
    "stored_rows",
    "target_of",
]

Modification = exp.Insert | exp.Update | exp.Delete | exp.Merge
_MODIFICATIONS = (exp.Insert, exp.Update, exp.Delete, exp.Merge)
_ROWS = "gr_changed"


@dataclass(frozen=True, slots=True)
class CountQuery:
    """How many rows of a relation a change would change.

    Args:
        relation: Its key.
        sql: A query of one number; empty where `rows` is that number already.
        params: Its values, by name in placeholder order.
        plain: The rows that are counted, as a query.
        plain_params: Its values, likewise.
        rows: The number, where the text itself tells it.
    """

    relation: str
    sql: str = ""
    params: Mapping[str, Value] | None = None
    plain: str = ""
    plain_params: Mapping[str, Value] | None = None
    rows: int = 0


def count_queries(plan: Plan, catalog: Catalog) -> tuple[CountQuery, ...]:
    """Returns how to count the rows that a plan would change, one for each change in its text.

    Joins are counted as the target's rows (in MySQL as pairs), rows of a merge as those that are merged: an estimate from above.

    Args:
        plan: Its text is what the guard regenerated: masks and row filters stand in it.
        catalog: The schema that it was made against.

    Raises:
        StatementError: A change reads what another change in the same statement gives back (``sql.construct_unsupported``).
    """
    dialect = dialect_of(plan.dialect)
    tree = parse_tree(plan.sql, tokenize(plan.sql, dialect), dialect)
    if dialect.placeholders == "numbered":
        _name_params(tree, plan.params)
    found = []
    for node in modifications(tree):
        table = target_of(node)
        schema = table.args.get("db")
        key = catalog.key(schema.name if schema is not None else None, table.name)
        found.append(_counted(node, key, tree, plan.params, dialect))
    return tuple(found)


def stored_rows(key: str, catalog: Catalog) -> CountQuery:
    """Returns how to count all rows of a table of the catalog."""
    dialect, relation = dialect_of(catalog.dialect), catalog.relations[key]
    table = exp.Table(
        this=exp.to_identifier(relation.name, quoted=True),
        db=exp.to_identifier(relation.schema, quoted=True) if relation.schema else None,
    )
    return _counting(key, exp.Select(expressions=[exp.Literal.number(1)], from_=exp.From(this=table)), {}, dialect)


def modifications(tree: exp.Expr) -> Iterator[Modification]:
    """Yields every change of a statement: those in common table expressions, then the statement itself."""
    clause = tree.args.get("with_")
    for cte in clause.expressions if clause is not None else ():
        if isinstance(cte.this, _MODIFICATIONS):
            yield cte.this
    if isinstance(tree, _MODIFICATIONS):
        yield tree


def target_of(node: Modification) -> exp.Table:
    """Returns the relation that a change is made to.

    Raises:
        StatementError: It is none of the forms that are understood (``sql.construct_unsupported``).
    """
    table = node.this.this if isinstance(node.this, exp.Schema) else node.this
    # MySQL's joins name the one that is changed: DELETE in front, UPDATE at what it assigns.
    names = [t.name for t in node.args.get("tables") or ()]
    if isinstance(node, exp.Update):
        names += [item.this.table for item in node.expressions if isinstance(item.this, exp.Column) and item.this.table]
    if names:
        tables = [t for t in node.this.find_all(exp.Table) if t.alias_or_name == names[0]]
        table = next((t for t in tables if t.find_ancestor(exp.Select) is None), None)
    if not isinstance(table, exp.Table):
        raise StatementError("sql.construct_unsupported", "The target of the change is not one plain relation.")
    return table


def changed_rows(node: exp.Update | exp.Delete, projections: Sequence[exp.Expr]) -> exp.Select:
    """Returns the query of these projections over the rows that an UPDATE or DELETE would find, once for each row that it joins."""
    select = exp.Select(expressions=list(projections), from_=exp.From(this=_alone(node.this)))
    joins = [
        *(join.copy() for join in node.this.args.get("joins") or ()),
        *(exp.Join(this=item.copy()) for item in _others(node)),
    ]
    for name, value in (
        ("joins", joins),
        ("where", _where(node)),
        ("order", node.args.get("order")),
        ("limit", node.args.get("limit")),
    ):
        if value:
            select.set(name, value if isinstance(value, list) else value.copy())
    return select


def as_table(query: exp.Expr, alias: str = _ROWS) -> exp.Subquery:
    """Returns a query as something to select from."""
    return exp.Subquery(this=query, alias=exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))


def _counted(node: Modification, key: str, tree: exp.Expr, params: Mapping[str, Value], dialect: EngineDialect) -> CountQuery:
    rows: exp.Expr
    if isinstance(node, exp.Insert):
        source = node.args.get("expression")
        if source is None or isinstance(source, exp.Values):
            return CountQuery(key, rows=len(source.expressions) if source is not None else 1)
        rows = source.copy()
    elif isinstance(node, exp.Merge):
        rows = exp.Select(expressions=[exp.Literal.number(1)], from_=exp.From(this=node.args["using"].copy()))
    else:
        rows = _target_rows(node)
    give_ctes(rows, node, tree)
    return _counting(key, rows, params, dialect)


def _counting(key: str, rows: exp.Expr, params: Mapping[str, Value], dialect: EngineDialect) -> CountQuery:
    query = exp.Select(expressions=[exp.Count(this=exp.Star())], from_=exp.From(this=as_table(rows.copy())))
    sql, used = _written(query, params, dialect)
    plain, plain_used = _written(rows, params, dialect)
    return CountQuery(key, sql, used, plain, plain_used)


def _written(query: exp.Expr, params: Mapping[str, Value], dialect: EngineDialect) -> tuple[str, dict[str, Value]]:
    used = {str(node.this): params[str(node.this)] for node in query.find_all(exp.Placeholder)}
    if dialect.placeholders == "numbered":
        used = number_params(query, used)
    return generate(query, dialect), used


def _target_rows(node: exp.Update | exp.Delete) -> exp.Select:
    """The rows of the target that a change would find, each once however many rows it is joined with."""
    others = _others(node)
    if not others:
        return changed_rows(node, [exp.Literal.number(1)])
    joined = exp.Select(expressions=[exp.Literal.number(1)], from_=exp.From(this=others[0].copy()))
    if len(others) > 1:
        joined.set("joins", [exp.Join(this=item.copy()) for item in others[1:]])
    where = _where(node)
    if where is not None:
        joined.set("where", where.copy())
    return exp.Select(
        expressions=[exp.Literal.number(1)],
        from_=exp.From(this=_alone(node.this)),
        where=exp.Where(this=exp.Exists(this=joined)),
    )


def give_ctes(query: exp.Expr, node: Modification, tree: exp.Expr) -> None:
    """Gives a query the common table expressions that it reads; a change among them as the query of what it gives back.

    Raises:
        StatementError: It reads what an INSERT or a MERGE gives back (``sql.construct_unsupported``).
    """
    clauses = [c for c in (tree.args.get("with_"), node.args.get("with_") if node is not tree else None) if c is not None]
    ctes = [cte.copy() for clause in clauses for cte in clause.expressions]
    needed: list[exp.Expr] = []
    parts = [query]
    # A name is defined before it is read.
    for cte in reversed(ctes):
        if any(not t.args.get("db") and t.name == cte.alias for part in parts for t in part.find_all(exp.Table)):
            if isinstance(cte.this, _MODIFICATIONS):
                cte.set("this", _given_back(cte.this))
            needed.insert(0, cte)
            parts.append(cte.this)
    own = query.args.get("with_")
    if needed:
        is_recursive = any(bool(c.args.get("recursive")) for c in [*clauses, *([own] if own is not None else [])])
        kept = list(own.expressions) if own is not None else []
        query.set("with_", exp.With(expressions=[*needed, *kept], recursive=is_recursive))


def _given_back(node: Modification) -> exp.Select:
    """The query of what the RETURNING of a change would give back."""
    clause = node.args.get("returning")
    if clause is None or not isinstance(node, (exp.Update, exp.Delete)):
        raise StatementError("sql.construct_unsupported", "A change reads what another change gives back.")
    returned = clause.copy()
    if isinstance(node, exp.Update):
        alias = target_of(node).alias_or_name
        assigned = {item.this.name: item.expression for item in node.expressions if isinstance(item.this, exp.Column)}
        if len(assigned) < len(node.expressions):
            raise StatementError("sql.construct_unsupported", "A change reads what another change gives back.")
        for column in list(returned.find_all(exp.Column)):
            if column.table == alias and column.name in assigned:
                column.replace(exp.Paren(this=assigned[column.name].copy()))
    return changed_rows(node, returned.expressions)


def _name_params(tree: exp.Expr, params: Mapping[str, Value]) -> None:
    names = list(params)
    for node in list(tree.find_all(exp.Parameter)):
        node.replace(exp.Placeholder(this=names[int(node.name) - 1]))


def _alone(table: exp.Expr) -> exp.Expr:
    copy = table.copy()
    copy.set("joins", None)
    return copy


def _others(node: exp.Update | exp.Delete) -> list[exp.Expr]:
    """What the target is joined with outside of its own joins: the items of FROM or USING."""
    from_ = node.args.get("from_")
    return [from_.this] if from_ is not None else list(node.args.get("using") or [])


def _where(node: exp.Expr) -> exp.Expr | None:
    found: exp.Expr | None = node.args.get("where")
    return found
