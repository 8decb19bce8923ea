"""Whose a resolved column is: the relation in FROM that its alias stands for, found by climbing the tree as names are looked up.

Positive knowledge only: where FROM cannot be seen from the column, or the alias stands for anything but one base relation, the answer
is None and the caller does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

__all__ = ["level_of", "owner_of", "sources_of"]

_SOURCES = (exp.Table, exp.Subquery, exp.Unnest, exp.Lateral, exp.Values)


def owner_of(column: exp.Column) -> exp.Table | None:
    """Returns the table in FROM that a qualified column belongs to; None for anything else, and where its columns have other names."""
    level = level_of(column)
    found = [s for s in sources_of(level) if s.alias == column.table] if level is not None else []
    table = found[0] if len(found) == 1 else None
    alias = table.args.get("alias") if table is not None else None
    is_renamed = alias is not None and bool(alias.args.get("columns"))
    return table if isinstance(table, exp.Table) and not is_renamed else None


def level_of(column: exp.Column) -> exp.Select | None:
    """Returns the innermost SELECT around a qualified column whose FROM has its alias, None when that is not sure."""
    child: exp.Expr = column
    node = column.parent
    while node is not None:
        if isinstance(node, exp.Lateral):
            return None
        if isinstance(node, exp.Select) and _is_seen(child, column) and column.table in [s.alias for s in sources_of(node)]:
            return node
        child, node = node, node.parent
    return None


def sources_of(select: exp.Select) -> Iterator[exp.Expr]:
    """Yields what stands in the FROM of one SELECT itself."""
    for part in (select.args.get("from_"), *(select.args.get("joins") or []), *(select.args.get("laterals") or [])):
        if part is not None:
            yield from (s for s in part.find_all(*_SOURCES) if s.find_ancestor(exp.Select) is select)


def _is_seen(part: exp.Expr, column: exp.Column) -> bool:
    """Whether FROM is seen from a part of the SELECT: not from WITH, nor from a subquery that stands in FROM."""
    if isinstance(part, (exp.From, exp.With)):
        return False
    if not isinstance(part, exp.Join):
        return True
    on = part.args.get("on")
    node: exp.Expr | None = column
    while node is not None and node is not part:
        if node is on:
            return True
        node = node.parent
    return False
