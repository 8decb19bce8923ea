"""GROUP BY a primary key: PostgreSQL lets the other columns through because they depend on it, and forgets that in a subquery."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from guardrails.model import Catalog
from guardrails.sql.sources import relation_of

__all__ = ["keep_functional_dependency"]


def keep_functional_dependency(select: exp.Select, is_protected: Callable[[str], bool], catalog: Catalog) -> None:
    """Adds the columns that depend on a grouped primary key to GROUP BY, where the relation is about to become a subquery.

    The groups stay the same: the key alone already tells them apart (SQL:2016, 4.26, functional dependencies; feature T301).
    """
    group = select.args.get("group")
    if group is None or any(group.args.get(n) for n in ("grouping_sets", "cube", "rollup")):
        return
    grouped = {(c.table, c.name) for c in group.expressions if isinstance(c, exp.Column)}
    for table in _tables(select):
        key = relation_of(table)
        if key is None or not is_protected(key):
            continue
        primary_key = catalog.relations[key].primary_key
        if not primary_key or not {(table.alias, c) for c in primary_key} <= grouped:
            continue
        for column in _outside_from(select):
            if column.table == table.alias and (column.table, column.name) not in grouped:
                grouped.add((column.table, column.name))
                group.append("expressions", column.copy())


def _tables(select: exp.Select) -> list[exp.Table]:
    parts = [select.args.get("from_"), *(select.args.get("joins") or [])]
    return [t for p in parts if p is not None for t in p.find_all(exp.Table) if t.find_ancestor(exp.Select) is select]


def _outside_from(select: exp.Select) -> list[exp.Column]:
    parts = [*select.expressions, select.args.get("having"), select.args.get("order")]
    return [c for p in parts if p is not None for c in p.find_all(exp.Column) if isinstance(c.this, exp.Identifier)]
