"""Which relations and columns a principal may see in the schema: those of which a SELECT would be permitted, by the decision itself.

A rule that asks for approval permits. A column that no rule covers, or that has the mask `deny`, is not seen; a masked one is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from guardrails.errors import CatalogError, StatementError
from guardrails.model import Access, ColumnRef, Context, Principal, Relation, RelationUse
from guardrails.policy.binding import BoundPolicy
from guardrails.policy.decide import decide
from guardrails.sql import relation_access

__all__ = ["visible"]


def visible(policy: BoundPolicy, principal: Principal, context: Context) -> Mapping[str, tuple[str, ...]]:
    """Decides about reading every column of the schema.

    Args:
        policy: The policy, bound to the schema.
        principal: On whose behalf.
        context: Agent, session, purpose.

    Returns:
        By relation key the columns of which a SELECT would be allowed, or approved, in their order.
    """
    found: dict[str, tuple[str, ...]] = {}
    for key, relation in policy.catalog.relations.items():
        access = _reading(policy, key, relation)
        if access is None:
            continue
        columns = relation.column_names
        if not _is_permitted(access, policy, principal, context):
            columns = tuple(c for c in columns if _is_permitted(_only(access, key, c), policy, principal, context))
        if columns:
            found[key] = columns
    return found


def _reading(policy: BoundPolicy, key: str, relation: Relation) -> Access | None:
    """What reading a whole relation does; None when no rule could permit it, or its definition is not understood."""
    rules = (b for b in policy.rules if b.rule.effect != "deny" and "select" in b.actions)
    if not any(b.relations is None or key in b.relations for b in rules):
        return None
    if relation.kind not in ("view", "materialized_view"):
        reads = tuple(ColumnRef(key, c) for c in relation.column_names)
        return Access("select", ("select",), (RelationUse(key, "select"),), reads)
    try:
        return relation_access(policy.catalog, key)
    except (StatementError, CatalogError):
        return None


def _only(access: Access, key: str, column: str) -> Access:
    """The same for one column; what a view's definition reads is read whichever of its columns is asked for."""
    return replace(access, reads=tuple(r for r in access.reads if r.relation != key or r.column == column))


def _is_permitted(access: Access, policy: BoundPolicy, principal: Principal, context: Context) -> bool:
    return decide(access, policy, principal, context).effect != "deny"
