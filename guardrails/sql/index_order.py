"""Indexes as a channel: one that holds a protected column beside others returns rows in an order that depends on it.

A scan of an index on (region, born) for `region = 'EU'` yields the rows of that region by their dates of birth, whatever the statement
then shows. The same holds of an index over a protected column that a row filter asks about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Catalog, Obligations, Relation

__all__ = ["ignore_indexes", "is_order_protected", "keep_change_order"]


def is_order_protected(obligations: Obligations, catalog: Catalog, filter_columns: frozenset[tuple[str, str]]) -> bool:
    """Whether an index could return rows in the order of a masked column.

    Args:
        obligations: The masks and row filters of everything that the statement touches.
        catalog: The schema.
        filter_columns: What the row filters ask about, as (relation, column).
    """
    masked: dict[str, set[str]] = {}
    for mask in obligations.masks:
        masked.setdefault(mask.column.relation, set()).add(mask.column.column)
    for key, hidden in masked.items():
        filtered = {column for relation, column in filter_columns if relation == key}
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
    elif isinstance(change, exp.Delete) and (change.args.get("limit") or change.args.get("returning")):
        if ignore_indexes(table.copy(), relation, masked):
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
