"""The schema as one principal may know it: what they may read, and what their rules let them change.

A statement that resolves against it names nothing that its author may not know of, so that a dry run cannot be used to feel for names.
"""

from __future__ import annotations

from dataclasses import replace

from guardrails.model import Access, Catalog, ColumnRef, Context, Principal, Relation, RelationUse
from guardrails.policy import BoundPolicy, decide, visible

__all__ = ["known_catalog"]

_CHANGES = ("insert", "update", "delete", "merge", "truncate", "alter", "drop")


def known_catalog(policy: BoundPolicy, principal: Principal, context: Context) -> Catalog:
    """Returns the catalog with only what the principal may know, every relation as a plain table without constraints.

    Args:
        policy: The policy, bound to the whole schema.
        principal: Who asks.
        context: Agent, purpose.
    """
    readable = visible(policy, principal, context)
    relations: dict[str, Relation] = {}
    for key, relation in policy.catalog.relations.items():
        shown = {*readable.get(key, ()), *_changeable(policy, key, relation, principal, context)}
        columns = tuple(column for column in relation.columns if column.name in shown)
        if columns:
            relations[key] = Relation(relation.schema, relation.name, "table", columns)
    return replace(policy.catalog, relations=relations, placed=(), placed_columns=())


def _changeable(policy: BoundPolicy, key: str, relation: Relation, principal: Principal, context: Context) -> frozenset[str]:
    """The columns that some change of the relation would be let write."""
    found: set[str] = set()
    for action in _CHANGES:
        rules = (b for b in policy.rules if b.rule.effect != "deny" and action in b.actions)
        if any(b.relations is None or key in b.relations for b in rules):
            use = (RelationUse(key, action),)
            found |= {
                name
                for name in relation.column_names
                if name not in found
                and decide(Access("other", (action,), use, writes=(ColumnRef(key, name),)), policy, principal, context).effect
                != "deny"
            }
    return frozenset(found)
