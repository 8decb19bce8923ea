"""Which subqueries MariaDB merges into the query around them, as that decides about capitals in the names of result columns.

A column of a merged view, subquery or common table expression shows the name that it has there; of anything else, a base table or a
temporary one, it shows the name as the statement writes it. Measured on MariaDB 10.11.
Source: https://mariadb.com/kb/en/derived-table-merge-optimization/, https://mariadb.com/kb/en/view-algorithms/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlglot import exp

from guardrails.sql.allow import function_name

__all__ = ["is_merged", "query_behind"]

_KEPT = ("distinct", "group", "having", "limit", "offset")
_AGGREGATES = frozenset(
    {
        *("avg", "bit_and", "bit_or", "bit_xor", "count", "group_concat", "json_arrayagg", "json_objectagg", "max", "min"),
        *("std", "stddev", "stddev_pop", "stddev_samp", "sum", "var_pop", "var_samp", "variance"),
    }
)


def is_merged(query: exp.Expr) -> bool:
    """Whether a query in FROM is merged: a plain SELECT over relations, each of whose rows gives one row."""
    if not isinstance(query, exp.Select) or query.args.get("from_") is None or any(query.args.get(name) for name in _KEPT):
        return False
    return not any(_is_aggregate(node) for node in _own_nodes(query))


def query_behind(select: exp.Select, alias: str, view: Callable[[exp.Table], exp.Expr | None]) -> exp.Expr | None:
    """Returns the query that an alias in FROM of a resolved SELECT stands for, None for a base relation.

    Args:
        select: The SELECT.
        alias: The alias.
        view: Gives the definition of a relation that is a view.
    """
    for node in _sources(select):
        if node.alias_or_name.lower() != alias:
            continue
        if isinstance(node, exp.Subquery):
            return node.unnest()
        if isinstance(node, exp.Table):
            return _common(node) if node.args.get("db") is None else view(node)
    return None


def _sources(select: exp.Select) -> Iterator[exp.Expr]:
    pending = [select.args["from_"].this, *(j.this for j in select.args.get("joins") or [])] if select.args.get("from_") else []
    while pending:
        node = pending.pop()
        pending += [j.this for j in node.args.get("joins") or []]
        if isinstance(node, exp.Subquery) and not node.args.get("alias"):
            pending.append(node.this)
        else:
            yield node


def _common(table: exp.Table) -> exp.Expr | None:
    """The common table expression that a name stands for; each has a name of its own in a resolved tree."""
    node: exp.Expr | None = table
    while node is not None:
        clause = node.args.get("with_")
        for cte in clause.expressions if clause is not None else ():
            if cte.alias == table.name:
                found: exp.Expr = cte.this
                return found
        node = node.parent
    return None


def _own_nodes(query: exp.Select) -> Iterator[exp.Expr]:
    """The nodes of a query without those of its subqueries."""
    return query.walk(prune=lambda node: node is not query and isinstance(node, exp.Query))


def _is_aggregate(node: exp.Expr) -> bool:
    if isinstance(node, exp.Anonymous):
        return function_name(node) in _AGGREGATES
    return isinstance(node, (exp.AggFunc, exp.Window))
