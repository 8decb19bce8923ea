"""Aggregates that the policy lets see the real values of a protected column, of groups that are large enough.

Such an aggregate becomes ``CASE WHEN count(c) >= n THEN avg(c) END``. A condition that singles rows out, a join that repeats them or a
correlation that makes one answer out of many would undo the group's size; so a form that is not plainly one relation's own groups is
refused. What remains is the difference of two answers, which the session's budget of probes bounds (Denning, Denning and Schwartz, The
Tracker: A Threat to Statistical Database Security, 1979).
"""

from __future__ import annotations

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Mask
from guardrails.sql.owners import level_of
from guardrails.sql.probes import Hidden, hide_column
from guardrails.sql.sources import relation_of

__all__ = ["move_aggregates"]

_SUMS = frozenset({"sum", "avg"})
_SPREADS = frozenset({"stddev", "stddev_pop", "stddev_samp", "std", "variance", "var_pop", "var_samp"})
_FAMILIES = {"integer": _SUMS | _SPREADS, "numeric": _SUMS | _SPREADS, "float": _SUMS}
"""Which aggregates of which values raise no error whatever the values are. The least and the greatest are values of single rows."""
_HINT = "Ask for count, sum, avg, stddev or variance of the bare column, over its relation alone, with plain GROUP BY keys."


def move_aggregates(tree: exp.Expr, hidden: Hidden) -> None:
    """Lets every aggregate of a tree that the policy permits see real values, of groups that are large enough.

    Raises:
        StatementError: An aggregate of such a column is of a form that could tell of smaller groups (``mask.group_unsupported``).
    """
    for call in list(tree.find_all(exp.Anonymous)):
        name = str(call.this).lower()
        column = call.expressions[0] if len(call.expressions) == 1 else None
        if name not in _SUMS | _SPREADS | {"count"} or not isinstance(column, exp.Column):
            continue
        found = hidden.mask_of(column)
        if found is None or not found[1].min_group:
            continue
        table, mask = found
        if name != "count" and name not in _FAMILIES.get(mask.family, frozenset()):
            continue
        _require_plain_groups(call, table, hidden)
        _move(call, column, table, mask, hidden)


def _move(call: exp.Anonymous, column: exp.Column, table: exp.Table, mask: Mask, hidden: Hidden) -> None:
    hidden.probes += 1
    real = hide_column(table, column.copy(), hidden)
    counted = exp.Anonymous(this="count", expressions=[real.copy()])
    is_large = exp.GTE(this=counted, expression=exp.Literal.number(mask.min_group))
    seen = exp.Anonymous(this=call.this, expressions=[real])
    call.replace(exp.Case(ifs=[exp.If(this=is_large, true=seen)]))


def _require_plain_groups(call: exp.Anonymous, table: exp.Table, hidden: Hidden) -> None:
    select = call.find_ancestor(exp.Select)
    if (
        select is None
        or isinstance(call.parent, (exp.Filter, exp.Window, exp.WithinGroup))
        or not _is_alone(select, table)
        or not _has_plain_keys(select)
        or not _is_self_contained(select, hidden)
        or _is_repeated(select)
    ):
        raise StatementError(
            "mask.group_unsupported", "This aggregate of a protected column could tell of single rows.", hint=_HINT
        )


def _is_alone(select: exp.Select, table: exp.Table) -> bool:
    """Whether FROM is the one relation, so that each of its rows counts once."""
    source = select.args.get("from_")
    has_others = any(select.args.get(part) for part in ("joins", "laterals")) or bool(table.args.get("joins"))
    return source is not None and source.this is table and not has_others


def _has_plain_keys(select: exp.Select) -> bool:
    """Whether each row is in one group: totals beside parts would tell of a part that is left out."""
    group = select.args.get("group")
    if group is None:
        return True
    has_more = any(value for key, value in group.args.items() if key != "expressions")
    return not has_more and not any(isinstance(key, (exp.Cube, exp.Rollup, exp.GroupingSets)) for key in group.expressions)


def _is_self_contained(select: exp.Select, hidden: Hidden) -> bool:
    """Whether the query is the same for every row around it: it names nothing of them."""
    inner = set(map(id, select.find_all(exp.Select)))
    for column in select.find_all(exp.Column):
        if column.table:
            level = level_of(column)
            if level is None or id(level) not in inner:
                return False
        elif not _is_output_key(column) and hidden.meant(column) is None:
            return False
    return True


def _is_output_key(name: exp.Column) -> bool:
    """Whether a bare name is a key of ORDER BY or GROUP BY that is called like a column of the result."""
    level, node = name.find_ancestor(exp.Select), name.parent
    child: exp.Expr = name
    while node is not None and node is not level:
        child, node = node, node.parent
    return isinstance(level, exp.Select) and isinstance(child, (exp.Order, exp.Group)) and name.name in level.named_selects


def _is_repeated(select: exp.Select) -> bool:
    """Whether the query takes part in a recursion, and so asks many times."""
    around = set()
    node: exp.Expr | None = select
    while node is not None:
        if isinstance(node, exp.CTE):
            around.add(node.alias)
        if isinstance(node, exp.With) and node.args.get("recursive"):
            return True
        node = node.parent
    return any(t.name in around and relation_of(t) is None for t in select.find_all(exp.Table))
