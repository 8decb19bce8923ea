"""Indexes as a channel: one that holds a protected column beside others returns rows in an order that depends on it.

A scan of an index on (region, born) for `region = 'EU'` yields the rows of that region by their dates of birth, whatever the statement
then shows. The same holds of an index over a protected column that a row filter asks about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Access, Catalog, ColumnRef, Obligations, Relation, Way

__all__ = ["CONSTANT_MASKS", "ignore_indexes", "keep_change_order", "ways_to_avoid"]

CONSTANT_MASKS = frozenset({"deny", "fixed", "full", "null"})
_FAITHFUL_MASKS = frozenset({"hash", "pseudonym", "shift"})
"""They keep as many different values as there are."""


def ways_to_avoid(
    tree: exp.Expr, access: Access, obligations: Obligations, catalog: Catalog, filter_columns: frozenset[ColumnRef]
) -> frozenset[Way]:
    """Returns how the engine must not come to its answer.

    Args:
        tree: What runs.
        access: What the statement does.
        obligations: The masks and row filters of everything that it touches.
        catalog: The schema.
        filter_columns: What the row filters ask about.
    """
    found: set[Way] = set()
    if _is_order_protected(obligations, catalog, filter_columns):
        found.add("index_order")
    merging = {m.column for m in obligations.masks if m.kind not in CONSTANT_MASKS | _FAITHFUL_MASKS} & set(access.reads)
    if merging and (merging & set(access.grouped) or _makes_sets(tree)):
        found.add("hashed_groups")
    return frozenset(found)


def _makes_sets(tree: exp.Expr) -> bool:
    """Whether equal rows are put together by more than GROUP BY."""
    sets = (n for n in tree.find_all(exp.SetOperation) if n.args.get("distinct") or not isinstance(n, exp.Union))
    return (
        any(True for _ in sets)
        or tree.find(exp.Distinct) is not None
        or any(n.args.get("query") for n in tree.find_all(exp.In))
    )


def _is_order_protected(obligations: Obligations, catalog: Catalog, filter_columns: frozenset[ColumnRef]) -> bool:
    """Whether an index could return rows in the order of a masked column."""
    masked: dict[str, set[str]] = {}
    for mask in obligations.masks:
        masked.setdefault(mask.column.relation, set()).add(mask.column.column)
    for key, hidden in masked.items():
        filtered = {c.column for c in filter_columns if c.relation == key}
        for relation in (key, *_beneath(key, catalog)):
            for _, columns in catalog.relations[relation].indexes:
                if columns & hidden and (columns - hidden or columns & filtered):
                    return True
    return False


def ignore_indexes(table: exp.Table, relation: Relation, masked: Collection[str]) -> bool:
    """Tells MySQL to leave the indexes over masked columns alone; returns whether there are any."""
    ignored = [name for name, columns in relation.indexes if not columns.isdisjoint(masked)]
    if ignored:
        names = [exp.to_identifier(name, quoted=True) for name in ignored]
        table.set("hints", [exp.IndexTableHint(this="IGNORE", expressions=names)])
    return bool(ignored)


def keep_change_order(table: exp.Table, relation: Relation, masked: Collection[str]) -> None:
    """Keeps MySQL from changing rows in the order of a masked column: LIMIT would choose by it, and RETURNING show it.

    Raises:
        StatementError: There is no hint for this form (``mask.unsupported``).
    """
    change = table.parent
    if isinstance(change, exp.Update):
        ignore_indexes(table, relation, masked)
        return
    is_shown = isinstance(change, exp.Delete) and (change.args.get("limit") or change.args.get("returning"))
    if is_shown and ignore_indexes(table.copy(), relation, masked):
        raise StatementError(
            "mask.unsupported",
            "An index over a protected column may choose or order the rows that are deleted.",
            hint="Leave LIMIT and RETURNING out, and name the rows in WHERE.",
        )


def _beneath(key: str, catalog: Catalog) -> Iterator[str]:
    """Yields the partitions and children of a relation, whose rows it has and whose indexes a scan of it may use."""
    for name, relation in catalog.relations.items():
        if key in relation.parents:
            yield name
            yield from _beneath(name, catalog)
