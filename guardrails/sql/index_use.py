"""Which index scans PostgreSQL may plan for a statement, so that no order of its rows tells of a protected column.

Rows come out of an index in the order of its columns. A statement that sees masked values only can never ask for that order, yet a plan may
bring it about: an index-only scan of any index that covers what is read, or a scan of an index over `(region, email)` for
`region = 'EU'`, or of a partial one for its condition. A bitmap of an index gives the rows in the order in which they are stored.
Source: https://www.postgresql.org/docs/current/indexes-ordering.html, https://www.postgresql.org/docs/current/indexes-index-only-scans.html
"""

from __future__ import annotations

import re

from guardrails.model import Catalog, IndexUse, Obligations

__all__ = ["index_use"]


def index_use(obligations: Obligations, catalog: Catalog) -> IndexUse:
    """Returns how far indexes may be used.

    Args:
        obligations: Whose masks say which columns are protected, and whose row filters are the only conditions on their real values.
        catalog: Knows the columns in each relation's indexes, and which relations hold rows of others.
    """
    masked: dict[str, set[str]] = {}
    for mask in obligations.masks:
        masked.setdefault(mask.column.relation, set()).add(mask.column.column)
    found: IndexUse = "any"
    for key, columns in masked.items():
        predicates = " ".join(f.predicate for f in obligations.row_filters if f.relation == key)
        named = {c for c in columns if re.search(rf"\b{re.escape(c)}\b", predicates, re.IGNORECASE)}
        for relation in (catalog.relations[k] for k in _with_children(key, catalog)):
            if columns & relation.indexed_together or named & relation.indexed_columns:
                return "bitmap"
            if columns & relation.indexed_columns:
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
