"""Which index scans PostgreSQL may plan for a statement, so that no order of its rows tells of a protected column.

Rows come out of an index in the order of its columns. A statement that sees masked values only can never ask for that order, yet a plan may
bring it about: an index-only scan of any index that covers what is read, or a scan of an index over `(region, email)` for
`region = 'EU'`, or of a partial one for its condition. A bitmap of an index gives the rows in the order in which they are stored.
Source: https://www.postgresql.org/docs/current/indexes-ordering.html, https://www.postgresql.org/docs/current/indexes-index-only-scans.html
"""

from __future__ import annotations

from guardrails.model import Catalog, ColumnRef, IndexUse, Obligations

__all__ = ["index_use"]


def index_use(
    obligations: Obligations, catalog: Catalog, filter_columns: frozenset[ColumnRef], touched: frozenset[str]
) -> IndexUse:
    """Returns how far indexes may be used.

    Args:
        obligations: Whose masks say which columns are protected.
        catalog: Knows the columns of each relation's indexes, and which relations hold rows of others.
        filter_columns: What the row filters ask about: the only conditions on real values that may order rows.
        touched: Keys of the relations that the statement touches.
    """
    masked: dict[str, set[str]] = {}
    for mask in (m for m in obligations.masks if m.column.relation in touched):
        masked.setdefault(mask.column.relation, set()).add(mask.column.column)
    found: IndexUse = "any"
    for key, columns in masked.items():
        asked = {c.column for c in filter_columns if c.relation == key}
        for relation in _with_children(key, catalog):
            for _, indexed in catalog.relations[relation].indexes:
                if columns & indexed and (len(indexed) > 1 or columns & indexed & asked):
                    return "bitmap"
                if columns & indexed:
                    found = "fetching"
    return found


def _with_children(key: str, catalog: Catalog) -> set[str]:
    """Returns a relation with everything that holds rows of it: an index of a partition need not be one of the whole."""
    found, waiting = {key}, [key]
    while waiting:
        parent = waiting.pop()
        children = {k for k, relation in catalog.relations.items() if parent in relation.parents} - found
        found |= children
        waiting += children
    return found
