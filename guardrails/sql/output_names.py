"""MySQL's names for a query's own results: HAVING means them first, a window's ORDER BY too, everything else only what FROM lacks.

In HAVING a bare name is a column of the result, unless GROUP BY names a column of FROM so; inside an aggregate or a subquery FROM goes
first. Measured on MariaDB 10.11.
Source: https://dev.mysql.com/doc/refman/8.4/en/select.html (on how names in GROUP BY, HAVING and ORDER BY are looked up)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.sql.allow import function_name
from guardrails.sql.dialects import EngineDialect
from guardrails.sql.scope import Scope

__all__ = ["OUTPUT_META", "check_window_names", "mark_output_names"]

OUTPUT_META = "gr_output"
"""Key in a Column's `meta`: it is a column of the query's result."""

_AGGREGATES = {
    *(
        "avg",
        "bit_and",
        "bit_or",
        "bit_xor",
        "count",
        "json_arrayagg",
        "json_objectagg",
        "max",
        "median",
        "min",
        "percentile_cont",
    ),
    *("percentile_disc", "std", "stddev", "stddev_pop", "stddev_samp", "sum", "var_pop", "var_samp", "variance"),
}


def mark_output_names(node: exp.Select, scope: Scope, dialect: EngineDialect) -> None:
    """Marks the bare names in HAVING that mean columns of the result.

    Args:
        node: The query, with GROUP BY and HAVING as they are written.
        scope: With the names of the results.
        dialect: MySQL's rules.
    """
    having, group = node.args.get("having"), node.args.get("group")
    if having is None:
        return
    keys = [key for key in (group.expressions if group is not None else []) if _is_name(key)]
    grouped = {dialect.fold(key.this) for key in keys}
    grouped &= {key for source in scope.sources.values() for key in source.columns}
    for column in _bare_names(having):
        name = dialect.fold(column.this)
        if not column.table and name in scope.names and name not in grouped:
            column.meta[OUTPUT_META] = True


def check_window_names(node: exp.Select, scope: Scope, dialect: EngineDialect) -> None:
    """Refuses a window that is ordered by a name which a result and a column of FROM share.

    Raises:
        StatementError: There is one (``sql.column_ambiguous``).
    """
    results = {
        dialect.fold_name(item.alias)
        for item in node.expressions
        if isinstance(item, exp.Alias)
        and not (isinstance(item.this, exp.Column) and item.this.name.lower() == item.alias.lower())
    }
    windows = [w for part in [*node.expressions, *(node.args.get("windows") or [])] for w in part.find_all(exp.Window)]
    for order in (w.args["order"] for w in windows if w.args.get("order")):
        _check_keys(order, results, scope, dialect)


def _check_keys(order: exp.Expr, results: Collection[str], scope: Scope, dialect: EngineDialect) -> None:
    for key in (ordered.this for ordered in order.expressions):
        name = dialect.fold(key.this) if _is_name(key) and not key.table else ""
        if name in results and any(name in source.columns for source in scope.sources.values()):
            raise StatementError(
                "sql.column_ambiguous", f"{name} is a result column and a column of FROM.", hint="Qualify it with its relation."
            )


def _is_name(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and isinstance(node.this, exp.Identifier)


def _bare_names(node: exp.Expr) -> Iterator[exp.Column]:
    """Yields the names that stand outside of aggregates and subqueries."""
    for child in node.iter_expressions():
        if isinstance(child, exp.Column):
            if isinstance(child.this, exp.Identifier):
                yield child
        elif not isinstance(child, (exp.Query, exp.GroupConcat)) and not _is_aggregate(child):
            yield from _bare_names(child)


def _is_aggregate(node: exp.Expr) -> bool:
    return isinstance(node, exp.Anonymous) and function_name(node) in _AGGREGATES
