"""Groups as a channel: a hash table of groups is as large as there are different values, and their order follows from its size.

Masks that keep a part of a value, or merge values, leave fewer groups of masked values than there are values; which of them are equal is
what they keep, how many there are beneath is not. PostgreSQL is told to sort instead where such a column is grouped.
"""

from __future__ import annotations

from sqlglot import exp

from guardrails.model import Access, Obligations

__all__ = ["CONSTANT_MASKS", "do_groups_tell"]

CONSTANT_MASKS = frozenset({"deny", "fixed", "full", "null"})
_FAITHFUL_MASKS = frozenset({"hash", "pseudonym", "shift"})
"""They keep as many different values as there are."""


def do_groups_tell(tree: exp.Expr, access: Access, obligations: Obligations) -> bool:
    """Whether the order of hashed groups could tell how many different values a masked column has.

    Args:
        tree: What runs.
        access: What the statement does.
        obligations: The masks of everything that it touches.
    """
    merging = {m.column for m in obligations.masks if m.kind not in CONSTANT_MASKS | _FAITHFUL_MASKS} & set(access.reads)
    return bool(merging) and (bool(merging & set(access.grouped)) or _makes_sets(tree))


def _makes_sets(tree: exp.Expr) -> bool:
    """Whether equal rows are put together by more than GROUP BY."""
    sets = (n for n in tree.find_all(exp.SetOperation) if n.args.get("distinct") or not isinstance(n, exp.Union))
    return any(sets) or tree.find(exp.Distinct) is not None or any(n.args.get("query") for n in tree.find_all(exp.In))
