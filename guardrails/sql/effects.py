"""What a statement sets off beyond itself: refused where the catalog does not know it to be harmless."""

from __future__ import annotations

from guardrails.errors import StatementError
from guardrails.model import Access, Action, Catalog

__all__ = ["require_known_effects"]

_PARTS: dict[Action, tuple[Action, ...]] = {"merge": ("insert", "update", "delete")}
_WHAT = {
    "rule": "A rule of {} makes another statement of it.",
    "trigger": "A trigger may have effects on other relations when {} is changed.",
    "check": "A constraint calls code with effects of its own when {} is changed.",
    "event trigger": "A trigger on schema changes has effects of its own.",
    "code": "Functions, operators or casts of the system itself were replaced by a user's.",
}


def require_known_effects(access: Access, catalog: Catalog) -> None:
    """Refuses changes that set off unknown code, and values whose types do.

    Args:
        access: What the statement does.
        catalog: The schema that it was resolved against.

    Raises:
        StatementError: It sets something off (``sql.effects_unknown``).
    """
    for action, what in catalog.effects:
        if action == "*" or action in access.actions:
            raise StatementError("sql.effects_unknown", _WHAT[what], hint="An administrator must look at the database.")
    for use in access.relations:
        relation = catalog.relations.get(use.relation)
        actions = _PARTS.get(use.action, (use.action,))
        for action, what in relation.effects if relation is not None else ():
            if action in actions:
                raise StatementError("sql.effects_unknown", _WHAT[what].format(use.relation if use.via is None else "it"))
    for ref in (*access.reads, *access.writes):
        relation = catalog.relations.get(ref.relation)
        if relation is not None and any(c.name == ref.column and c.has_user_code for c in relation.columns):
            raise StatementError("sql.effects_unknown", "A column's type runs code of its own when its values are used.")
