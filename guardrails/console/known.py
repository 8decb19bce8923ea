"""The schema as one principal may know it: what they may read, and what their rules let them change.

A statement that resolves against it names nothing that its author may not know of, so that a dry run cannot be used to feel for names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from guardrails.errors import CatalogError, StatementError
from guardrails.model import Access, Catalog, ColumnRef, Context, Principal, Relation, RelationUse
from guardrails.policy import BoundPolicy, decide
from guardrails.sql import relation_access

__all__ = ["known_catalog"]

_CHANGES = ("insert", "update", "delete", "merge", "truncate", "alter", "drop")


def known_catalog(policy: BoundPolicy, principal: Principal, context: Context, *, text: str | None = None) -> Catalog:
    """Returns the catalog with only what the principal may know, every relation as a plain table without constraints.

    Args:
        policy: The policy, bound to the whole schema.
        principal: Who asks.
        context: Agent, purpose.
        text: Where given, relations whose names are not in it are left out, as nothing in it can mean them.
    """
    relations: dict[str, Relation] = {}
    for key, relation in policy.catalog.relations.items():
        if text is not None and not _is_in(relation.name, text):
            continue
        shown = {
            *_readable(policy, key, relation, principal, context),
            *_changeable(policy, key, relation, principal, context),
        }
        columns = tuple(column for column in relation.columns if column.name in shown)
        if columns:
            relations[key] = Relation(relation.schema, relation.name, "table", columns)
    return replace(policy.catalog, relations=relations, placed=(), placed_columns=())


def _is_in(name: str, text: str) -> bool:
    """Whether a text may hold a name; one with signs that are written otherwise in quotes always may."""
    return not name.replace("_", "").isalnum() or name.casefold() in text.casefold()


def _readable(policy: BoundPolicy, key: str, relation: Relation, principal: Principal, context: Context) -> Iterable[str]:
    """The columns of which a SELECT would be let run, or left to a person; as the guard shows the schema (`policy.visible`)."""
    if not _has_rule(policy, key, "select"):
        return ()
    try:
        whole = relation_access(policy.catalog, key)
    except (StatementError, CatalogError):
        return ()
    if decide(whole, policy, principal, context).effect != "deny":
        return relation.column_names

    def alone(name: str) -> Access:
        return replace(whole, reads=tuple(r for r in whole.reads if r.relation != key or r.column == name))

    return (name for name in relation.column_names if decide(alone(name), policy, principal, context).effect != "deny")


def _changeable(policy: BoundPolicy, key: str, relation: Relation, principal: Principal, context: Context) -> Iterable[str]:
    """The columns that some change of the relation would be let write."""
    for action in _CHANGES:
        if _has_rule(policy, key, action):
            use = (RelationUse(key, action),)
            for name in relation.column_names:
                change = Access("other", (action,), use, writes=(ColumnRef(key, name),))
                if decide(change, policy, principal, context).effect != "deny":
                    yield name


def _has_rule(policy: BoundPolicy, key: str, action: str) -> bool:
    """Whether a rule could permit the action at all."""
    rules = (bound for bound in policy.rules if bound.rule.effect != "deny" and action in bound.actions)
    return any(bound.relations is None or key in bound.relations for bound in rules)
